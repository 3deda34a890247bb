// A node on which the built program is used, as a person at a shell uses it. For component tests.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { DIST, TrineNode, busyboxImage, tinyGuestImage } from "@trine/testkit";
import type { ContainerdVersion } from "@trine/testkit";
import type { Ran } from "../testing.ts";

export const BUSYBOX = "trine.test/busybox:1";

export interface Running {
  readonly ended: Promise<Ran>;
  readonly signal: (name: NodeJS.Signals) => void;
  readonly output: () => string;
  readonly errors: () => string;
}

export class HandNode {
  readonly node: TrineNode;
  readonly dir: string;

  private constructor(node: TrineNode, dir: string) {
    this.node = node;
    this.dir = dir;
  }

  /** `config`: lines of trined's configuration; DATA in them is the directory of pods made by hand. */
  static async start(version: ContainerdVersion, config = ""): Promise<HandNode> {
    const dir = await mkdtemp(join(tmpdir(), "trine-hand-"));
    const lines = config.replaceAll("DATA", join(dir, "data"));
    const node = await TrineNode.start({ version, config: lines });
    await node.containerd.importImage(await busyboxImage());
    await node.containerd.importImage(await tinyGuestImage());
    return new HandNode(node, dir);
  }

  /** Answers what is left: pods in the runtime, files of them, and what the node itself finds. */
  async stop(): Promise<string[]> {
    const left = [(await this.trine("ps", "-q")).stdout, ...(await this.remains())];
    left.push(...(await this.node.stop()));
    await rm(this.dir, { recursive: true });
    return left.filter((line) => line !== "");
  }

  /** What a test that failed has left is not the next one's. */
  async clear(): Promise<void> {
    const left = (await this.trine("ps", "-q")).stdout.trim().split("\n").filter(Boolean);
    if (left.length > 0) await this.trine("rm", "--grace", "0", ...left);
  }

  environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      PATH: [join(DIST, "bin"), process.env["PATH"] ?? ""].join(delimiter),
      TRINE_STATE: this.node.stateDir,
      TRINE_DATA: join(this.dir, "data"),
      TRINE_CONTAINERD: this.node.containerd.socket,
      // Not what the person has set who runs the tests.
      XDG_CONFIG_HOME: this.dir,
    };
  }

  begin(argv: readonly string[], typed = ""): Running {
    const args = [join(DIST, "trine.mjs"), ...argv];
    const child = spawn(process.execPath, args, { env: this.environment(), stdio: "pipe" });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on("error", () => undefined); // it may end before it has read all
    child.stdin.end(typed);
    const ended = once(child, "close").then(([code]) => ({ code: code as number, stdout, stderr }));
    const signal = (name: NodeJS.Signals): void => void child.kill(name);
    return { ended, signal, output: () => stdout, errors: () => stderr };
  }

  trine(...argv: string[]): Promise<Ran> {
    return this.begin(argv).ended;
  }

  /** Runs one in the control group of this node's pods. */
  run(...argv: string[]): Promise<Ran> {
    return this.trine("run", ...this.cgroup(), ...argv);
  }

  cgroup(): string[] {
    return ["--cgroup-parent", this.node.containerd.cgroupParent];
  }

  async apply(name: string, documents: string, ...flags: string[]): Promise<Ran> {
    const file = join(this.dir, `${name}.yaml`);
    await writeFile(file, documents);
    return this.trine("apply", "-f", file, ...this.cgroup(), ...flags);
  }

  /** What the program keeps of pods, volumes, and what is mounted in them. */
  async remains(): Promise<string[]> {
    const data = join(this.dir, "data");
    const volumes = join(this.node.stateDir, "volumes");
    const dirs = [join(data, "pods"), join(data, "names"), volumes];
    const names = await Promise.all(dirs.map((each) => readdir(each).catch(() => [])));
    const table = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
    const places = table.map((line) => line.split(" ")[4] ?? "");
    const mounted = places.filter((at) =>
      [`${data}/`, `${volumes}/`].some((dir) => at.startsWith(dir)),
    );
    return [...names.flat(), ...mounted];
  }
}

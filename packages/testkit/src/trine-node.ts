import type { MessageInitShape } from "@bufbuild/protobuf";
import { ContainerState } from "@trine/proto/cri/api";
import type {
  DeviceSchema,
  LinuxContainerSecurityContextSchema,
  MountSchema,
} from "@trine/proto/cri/api";
import { type ChildProcess, spawn } from "node:child_process";
import { appendFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import type { ContainerdVersion } from "./containerd-config.ts";
import { removeCgroups, unmountAll } from "./host-traces.ts";
import { remains } from "./leak-check.ts";
import { startContainerd } from "./containerd.ts";
import type { Containerd, TestPod } from "./containerd.ts";
import { killProcesses, signal } from "./processes.ts";

const ROOT = join(import.meta.dirname, "../../..");
/** What `make build` made; TRINE_DIST names another build. */
export const DIST = process.env["TRINE_DIST"] ?? join(ROOT, "dist");

/** Where the control plane looks for it. */
const DOOR_PORT = 10_270;

export interface TrineNodeOptions {
  readonly version: ContainerdVersion;
  /** Lines of trined's configuration below `apiVersion`, the directories and the accelerator. */
  readonly config?: string;
  /** A CRI gateway in front of containerd, at `gatewaySocket`, with these lines of configuration below `gateway`. */
  readonly gateway?: readonly string[];
  /** Another directory of shims, such as an older release's. */
  readonly shimDir?: string;
}

/** A pod whose container is a machine (or, with another handler, an ordinary container). */
export interface RunOptions extends TestPod {
  readonly image: string;
  /** "" = runc. Default: trine-vm. */
  readonly handler?: string;
  readonly command?: string[];
  readonly memoryLimitBytes?: number;
  readonly tty?: boolean;
  readonly stdin?: boolean;
  readonly workingDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly MessageInitShape<typeof MountSchema>[];
  readonly devices?: readonly MessageInitShape<typeof DeviceSchema>[];
  readonly securityContext?: MessageInitShape<typeof LinuxContainerSecurityContextSchema>;
}

export interface RunningPod {
  readonly podSandboxId: string;
  readonly containerId: string;
  /** CRI log file of the container: for a machine its console. */
  readonly log: string;
  readonly ip: string;
}

/** A private containerd with a trined of its own: everything of Trine on a node, as users run it. */
export class TrineNode {
  readonly dir: string;
  readonly stateDir: string;
  readonly rootDir: string;
  readonly containerd: Containerd;
  #trined: ChildProcess | undefined;

  private constructor(dir: string, containerd: Containerd) {
    this.dir = dir;
    this.stateDir = join(dir, "s");
    this.rootDir = join(dir, "r");
    this.containerd = containerd;
  }

  static async start(options: TrineNodeOptions): Promise<TrineNode> {
    // Sockets lie deep in it, and their paths hold 107 bytes.
    const dir = await mkdtemp(join(tmpdir(), "tn-"));
    const containerd = await startContainerd({
      version: options.version,
      dir: join(dir, "c"),
      runtimes: ["trine-vm", "trine-microvm"],
      shimDir: options.shimDir ?? join(DIST, "bin"),
      stateDir: join(dir, "s"),
      // For ctr, which gives shims no runtime options.
      env: { TRINE_STATE: join(dir, "s") },
    });
    const node = new TrineNode(dir, containerd);
    await writeFile(
      join(dir, "trined.yaml"),
      [
        "apiVersion: config.trine.dev/v1alpha1",
        `stateDir: ${node.stateDir}`,
        `rootDir: ${node.rootDir}`,
        options.config ?? "",
        ...(options.gateway === undefined ? [] : node.#gatewayConfig(options.gateway)),
        "",
      ].join("\n"),
    );
    await node.startTrined();
    return node;
  }

  get gatewaySocket(): string {
    return join(this.dir, "cri.sock");
  }

  #gatewayConfig(lines: readonly string[]): string[] {
    const backEnds = `backEnds: [{name: containerd, socket: ${this.containerd.socket}}]`;
    const all = [`socket: ${this.gatewaySocket}`, backEnds, ...lines];
    return ["gateway:", ...all.map((line) => `  ${line}`)];
  }

  /** Makes trined open its door to a cluster's control plane, as that node of it; with the certificate it then asks for. */
  async openDoor(of: {
    readonly name: string;
    readonly address: string;
    readonly kubeconfig: string;
  }): Promise<void> {
    const config = [
      `kubernetes: { kubeconfig: ${of.kubeconfig} }`,
      `nodeDoor: { listen: "${of.address}:${DOOR_PORT}", node: ${of.name} }`,
      "",
    ];
    await this.killTrined("SIGTERM");
    await appendFile(join(this.dir, "trined.yaml"), config.join("\n"));
    await this.startTrined();
  }

  get trinedPid(): number | undefined {
    return this.#trined?.pid;
  }

  /** Starts the daemon; answers when it is ready. */
  async startTrined(): Promise<void> {
    await mkdir(this.stateDir, { recursive: true });
    await using log = await open(join(this.dir, "trined.log"), "a");
    const child = spawn(
      "setpriv",
      [
        "--pdeathsig",
        "KILL",
        process.execPath,
        join(DIST, "trined.mjs"),
        "--config",
        join(this.dir, "trined.yaml"),
      ],
      { stdio: ["ignore", log.fd, log.fd] },
    );
    this.#trined = child;
    await pollUntil("trined is ready", { ms: 90_000 }, async () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new TrineError("internal", `trined ended while starting: ${await this.trinedLog()}`);
      }
      return (await this.api("/readyz").catch(() => undefined))?.status === 200 ? true : undefined;
    });
  }

  async killTrined(name: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#trined;
    if (child?.pid === undefined) return;
    signal(child.pid, name);
    await pollUntil("trined ends", { ms: 20_000 }, () =>
      child.exitCode !== null || child.signalCode !== null ? true : undefined,
    );
    this.#trined = undefined;
  }

  async trinedLog(lines = 30): Promise<string> {
    const text = await readFile(join(this.dir, "trined.log"), "utf8").catch(() => "");
    return text.trim().split("\n").slice(-lines).join("\n");
  }

  /** GET on the node API. */
  api(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: join(this.stateDir, "api.sock"), path }, (answer) => {
        let body = "";
        answer.setEncoding("utf8");
        answer.on("data", (chunk: string) => (body += chunk));
        answer.on("end", () => {
          resolve({ status: answer.statusCode ?? 0, body });
        });
        answer.on("error", reject);
      });
      sent.on("error", reject);
      sent.end();
    });
  }

  /** Runs a pod of one container and answers when containerd says it is started. */
  async run(options: RunOptions): Promise<RunningPod> {
    const { runtime } = this.containerd.cri;
    const config = this.containerd.podConfig(options);
    await mkdir(config.logDirectory, { recursive: true });
    const runtimeHandler = options.handler ?? "trine-vm";
    const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler });
    try {
      const { containerId } = await runtime.createContainer({
        podSandboxId,
        sandboxConfig: config,
        config: {
          metadata: { name: "main", attempt: 0 },
          image: { image: options.image },
          // containerd wants a command of every container; a disk image seldom brings one.
          command: options.command ?? ["machine"],
          logPath: "main.log",
          tty: options.tty ?? false,
          stdin: options.stdin ?? false,
          workingDir: options.workingDir ?? "",
          envs: Object.entries(options.env ?? {}).map(([key, value]) => ({
            key,
            value: Buffer.from(value),
          })),
          mounts: [...(options.mounts ?? [])],
          devices: [...(options.devices ?? [])],
          linux: {
            resources: { memoryLimitInBytes: BigInt(options.memoryLimitBytes ?? 0) },
            securityContext: options.securityContext ?? {},
          },
        },
      });
      await runtime.startContainer({ containerId });
      const { status } = await runtime.podSandboxStatus({ podSandboxId });
      const ip = status?.network?.ip ?? "";
      return { podSandboxId, containerId, log: join(config.logDirectory, "main.log"), ip };
    } catch (cause) {
      await this.remove({ podSandboxId });
      throw cause;
    }
  }

  async remove(pod: Pick<RunningPod, "podSandboxId">): Promise<void> {
    const { runtime } = this.containerd.cri;
    await runtime.stopPodSandbox({ podSandboxId: pod.podSandboxId });
    await runtime.removePodSandbox({ podSandboxId: pod.podSandboxId });
  }

  /** Waits until containerd says that the container has ended. */
  ended(
    { containerId }: Pick<RunningPod, "containerId">,
    ms = 60_000,
  ): Promise<{ exitCode: number; reason: string }> {
    return pollUntil(`container ${containerId.slice(0, 12)} ends`, { ms }, async () => {
      const { status } = await this.containerd.cri.runtime.containerStatus({ containerId });
      return status?.state === ContainerState.CONTAINER_EXITED ? status : undefined;
    });
  }

  /** The container's output as CRI logged it, its stamps taken off. */
  async output(pod: Pick<RunningPod, "log">): Promise<string> {
    return parseCriLog(await readFile(pod.log, "utf8").catch(() => ""));
  }

  /** Waits until the output holds `wanted`; answers it. */
  async untilOutput(pod: RunningPod, wanted: string | RegExp, ms = 60_000): Promise<string> {
    try {
      return await pollUntil(`output has ${String(wanted)}`, { ms, everyMs: 100 }, async () => {
        const text = await this.output(pod);
        const found = typeof wanted === "string" ? text.includes(wanted) : wanted.test(text);
        return found ? text : undefined;
      });
    } catch (cause) {
      const tail = (await this.output(pod)).slice(-2000);
      throw TrineError.during(
        `pod ${pod.podSandboxId.slice(0, 12)}, output so far ${JSON.stringify(tail)}`,
        cause,
      );
    }
  }

  /** A reboot of the host: every process ends at once, what is on tmpfs is gone, then both daemons start. */
  async reboot(): Promise<void> {
    await this.containerd.kill9();
    await this.killTrined();
    await killProcesses(this.stateDir);
    await rm(this.stateDir, { recursive: true, force: true });
    await removeCgroups(basename(this.containerd.cgroupParent));
    await this.startTrined();
    await this.containerd.start();
  }

  /** Removes everything; answers what could not be removed in the regular way, and what pods left behind. */
  async stop(): Promise<string[]> {
    const { containerd } = this;
    const pods = await containerd.removePods();
    // Whatever of the pods is there now is a leak: nothing has been cleaned by force yet.
    const left = await remains({
      markers: [join(this.stateDir, "pods"), containerd.cgroupParent, `${containerd.dir}/state`],
      roots: [join(this.stateDir, "pods"), join(this.rootDir, "pods")],
      // The pods' own cgroups are kubelet's to make and remove; ours are below them.
      ignore: new RegExp(`^cgroup .*${containerd.cgroupParent}(/pod[^/]+)?$`),
    });
    await this.killTrined("SIGTERM");
    const daemon = await containerd.stop();
    await killProcesses(this.stateDir);
    await unmountAll(this.stateDir); // of spares, which outlive their daemon
    await rm(this.dir, { recursive: true, force: true });
    return [...pods, ...left, ...daemon, ...(await remains({ markers: [this.dir] }))];
  }
}

/** Text of a CRI log file: `STAMP STREAM P|F TEXT` lines, a P line without its line end. */
export function parseCriLog(log: string): string {
  return log
    .split("\n")
    .map((line) => {
      const match = /^\S+ (?:stdout|stderr) ([PF]) (.*)$/s.exec(line);
      return match === null ? "" : (match[2] ?? "") + (match[1] === "F" ? "\n" : "");
    })
    .join("");
}

import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { TrineError, messageOf, pollUntil } from "@trine/base";
import { type CriClient, createCriClient, importImage } from "@trine/containerd-client";
import { containerdBinaries } from "./containerd-binaries.ts";
import { type ContainerdVersion, containerdConfig } from "./containerd-config.ts";
import { removeCgroups, unmountAll } from "./host-traces.ts";
import { pauseImage } from "./images.ts";
import { type PodBridge, createPodBridge } from "./pod-bridge.ts";
import { killProcesses, signal } from "./processes.ts";
import { runCommand } from "./run-command.ts";
import type { TestImage } from "./test-image.ts";

export interface StartContainerdOptions {
  version: ContainerdVersion;
  /** Absolute, short (sockets lie in it), empty; everything of this containerd is in it. */
  dir: string;
  /** Handlers beside `runc`, e.g. `trine-vm` for the runtime type io.containerd.trine-vm.v2. */
  runtimes?: readonly string[];
  /** Directory of the shims of `runtimes`, first in containerd's PATH. */
  shimDir?: string;
  /** trined's state directory: the runtimes' option ConfigPath. */
  stateDir?: string;
  /** NRI on, at `dir`/nri.sock (2.x). */
  nri?: boolean;
  /** More environment for containerd and its shims. */
  env?: Readonly<Record<string, string>>;
}

/** Starts a containerd that shares nothing with others on the machine; ready when CRI answers. */
export async function startContainerd(options: StartContainerdOptions): Promise<Containerd> {
  const binaries = await containerdBinaries(options.version);
  const pause = await pauseImage();
  await mkdir(options.dir, { recursive: true });
  const config = containerdConfig({
    version: options.version,
    dir: options.dir,
    pauseImage: pause.name,
    runtimes: options.runtimes ?? [],
    ...(options.stateDir === undefined ? {} : { stateDir: options.stateDir }),
    nri: options.nri ?? false,
  });
  await writeFile(join(options.dir, "config.toml"), config);
  const bridge = await createPodBridge(options.dir);
  const containerd = new Containerd({ options, binaries, bridge });
  try {
    await containerd.start();
    await containerd.importImage(pause);
  } catch (cause) {
    await containerd.stop();
    throw cause;
  }
  return containerd;
}

interface Parts {
  options: StartContainerdOptions;
  binaries: string;
  bridge: PodBridge;
}

/** What a pod is run with; a pod's cgroups and logs lie where `stop` and leakCheck() find them. */
export interface TestPod {
  name: string;
  namespace?: string;
  annotations?: Record<string, string>;
  labels?: Record<string, string>;
  portMappings?: { containerPort: number; hostPort: number }[];
}

/** A pod sandbox's configuration as CRI takes it. */
export interface TestPodConfig {
  metadata: { name: string; uid: string; namespace: string; attempt: number };
  hostname: string;
  logDirectory: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  portMappings: { containerPort: number; hostPort: number }[];
  linux: { cgroupParent: string };
}

export class Containerd {
  readonly version: ContainerdVersion;
  readonly dir: string;
  /** containerd's gRPC socket. */
  readonly socket: string;
  readonly cri: CriClient;
  readonly bridge: PodBridge;
  /** Parent of all pods' cgroups, named after `dir`: `/tmp-trine-t-x1y2z3`. */
  readonly cgroupParent: string;
  readonly #parts: Parts;
  #process: ChildProcess | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.version = parts.options.version;
    this.dir = parts.options.dir;
    this.bridge = parts.bridge;
    this.cgroupParent = `/${this.dir.replaceAll("/", "-").replace(/^-/, "")}`;
    this.socket = join(this.dir, "containerd.sock");
    this.cri = createCriClient(this.socket);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Names of what this containerd owns, for leakCheck(). */
  get markers(): string[] {
    return [this.dir, this.cgroupParent];
  }

  /** Starts the daemon on the state that is there; answers when CRI is ready. */
  async start(): Promise<void> {
    if (this.#process) throw new TrineError("wrongState", "this containerd runs already");
    const { options, binaries } = this.#parts;
    const path = [options.shimDir, binaries, "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    await using log = await open(join(this.dir, "containerd.log"), "a");
    const child = spawn(
      "setpriv",
      // A test that is killed takes its containerd along.
      [
        "--pdeathsig",
        "KILL",
        join(binaries, "containerd"),
        "--config",
        join(this.dir, "config.toml"),
      ],
      {
        env: { ...options.env, PATH: path.filter((part) => part !== undefined).join(":") },
        stdio: ["ignore", log.fd, log.fd],
      },
    );
    this.#process = child;
    child.once("exit", () => {
      if (this.#process === child) this.#process = undefined;
    });
    await this.#untilReady(child);
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    await pollUntil("containerd's CRI answers", { ms: 60_000 }, async () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new TrineError(
          "internal",
          `containerd ended while starting: ${await this.logTail()}`,
        );
      }
      const answer = await this.cri.runtime.status({}, { timeoutMs: 2000 }).catch(() => undefined);
      // 2.x has a third condition, on deprecated settings.
      const ready = answer?.status?.conditions
        .filter(({ status }) => status)
        .map(({ type }) => type);
      return ["RuntimeReady", "NetworkReady"].every((type) => ready?.includes(type))
        ? true
        : undefined;
    });
  }

  /** The last lines of containerd's own log. */
  async logTail(lines = 20): Promise<string> {
    const text = await readFile(join(this.dir, "containerd.log"), "utf8");
    return text.trim().split("\n").slice(-lines).join("\n");
  }

  /** Runs ctr in namespace k8s.io; answers its output. */
  ctr(...args: string[]): Promise<string> {
    const [program = "", ...words] = this.ctrCommand(...args);
    return runCommand(program, words);
  }

  /** The words of a command line that runs ctr so. */
  ctrCommand(...args: string[]): string[] {
    const ctr = join(this.#parts.binaries, "ctr");
    return [ctr, "-a", this.socket, "-n", "k8s.io", ...args];
  }

  /** Imports an image; answers when CRI knows it. */
  async importImage(image: TestImage): Promise<void> {
    const ctr = join(this.#parts.binaries, "ctr");
    await importImage(image.archive, { socket: this.socket, ctr });
    await pollUntil(`CRI knows ${image.name}`, { ms: 30_000 }, async () => {
      const answer = await this.cri.images.imageStatus({ image: { image: image.name } });
      return answer.image;
    });
  }

  /** A sandbox configuration with a fresh uid, its own log directory and our cgroup parent. */
  podConfig(pod: TestPod): TestPodConfig {
    const uid = randomUUID();
    return {
      metadata: { name: pod.name, uid, namespace: pod.namespace ?? "default", attempt: 0 },
      hostname: pod.name,
      logDirectory: join(this.dir, "logs", `${pod.name}-${uid}`),
      labels: pod.labels ?? {},
      annotations: pod.annotations ?? {},
      portMappings: pod.portMappings ?? [],
      linux: { cgroupParent: `${this.cgroupParent}/pod${uid}` },
    };
  }

  /**
   * Remembers what the store holds; the answer lists what has come since. What containerd's own collection takes
   * of the old meanwhile is no matter.
   */
  async watchStore(): Promise<() => Promise<string[]>> {
    const before = new Set(await this.#storeLines());
    return async () => (await this.#storeLines()).filter((line) => !before.has(line));
  }

  async #storeLines(): Promise<string[]> {
    const lists = ["images ls -q", "content ls -q", "content active", "snapshots ls", "leases ls"];
    const lines = lists.map(async (list) => {
      const text = await this.ctr(...list.split(" "));
      return text.split("\n").map((line) => `${list}: ${line}`);
    });
    return (await Promise.all(lines)).flat();
  }

  /** Kills the daemon alone, as a crash would; pods go on. */
  async kill9(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Ends the daemon in order if it runs, and starts it again; pods go on. */
  async restart(): Promise<void> {
    await this.#end("SIGTERM");
    await this.start();
  }

  /**
   * Removes all pods, ends the daemon and takes away what is left of it, by force where needed. Answers
   * what could not be removed in the regular way.
   */
  async stop(): Promise<string[]> {
    const problems = this.#process ? await this.removePods() : [];
    await this.#end("SIGTERM");
    this.cri.close();
    await killProcesses(this.socket);
    await killProcesses(this.cgroupParent);
    await unmountAll(`${this.dir}/`);
    await removeCgroups(basename(this.cgroupParent));
    await this.bridge.remove();
    return problems;
  }

  /** Removes all pods the regular way; answers what went wrong. */
  async removePods(): Promise<string[]> {
    const { runtime } = this.cri;
    try {
      const { items } = await runtime.listPodSandbox({}, { timeoutMs: 10_000 });
      const removals = items.map(async ({ id: podSandboxId }) => {
        await runtime.stopPodSandbox({ podSandboxId }, { timeoutMs: 30_000 });
        await runtime.removePodSandbox({ podSandboxId }, { timeoutMs: 30_000 });
      });
      const results = await Promise.allSettled(removals);
      return results
        .filter((entry) => entry.status === "rejected")
        .map((entry) => messageOf(entry.reason));
    } catch (cause) {
      return [messageOf(cause)];
    }
  }

  async #end(name: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined) return;
    const { pid } = child;
    signal(pid, name);
    const overdue = setTimeout(() => {
      signal(pid, "SIGKILL");
    }, 15_000);
    await pollUntil("containerd ends", { ms: 30_000 }, () =>
      child.exitCode !== null || child.signalCode !== null ? true : undefined,
    );
    clearTimeout(overdue);
    this.#process = undefined;
  }
}

// A node with its images, and the questions these tests ask of it.
import { readFile, readdir, readlink } from "node:fs/promises";
import { TrineError, pollUntil } from "@trine/base";
import {
  type ContainerdVersion,
  type LeakCheck,
  type RunningPod,
  TrineNode,
  leakCheck,
  tinyGuestImage,
} from "@trine/testkit";
import { expect } from "vitest";

export const BOOT_MS = 90_000;
export const READY = /TINY-GUEST READY ip=(\S+)/;
export const SOAK = process.env["TRINE_SOAK"] !== undefined;

/** The pods' own control groups and their parent: kubelet removes them, with any runtime. */
const KUBELETS = /^cgroup \S+-c(\/pod[0-9a-f-]{36})?$/;

/** A pod as `/v1/pods` shows it. */
export interface PodView {
  readonly sandboxId: string;
  readonly shim: { readonly pid: number; readonly version: string };
  readonly machine?: {
    readonly pid: number;
    readonly state: string;
    readonly consoleLog: string;
    readonly consoleSocket: string;
    readonly disks: readonly { readonly name: string; readonly path: string }[];
  };
}

export interface MachineOptions {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly image?: string;
  readonly tty?: boolean;
  readonly stdin?: boolean;
  readonly memory?: string;
  readonly mounts?: NonNullable<Parameters<TrineNode["run"]>[0]["mounts"]>;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class NodeUnderTest {
  readonly node: TrineNode;
  readonly tiny: string;
  readonly #leaks: LeakCheck;

  private constructor(node: TrineNode, tiny: string, leaks: LeakCheck) {
    this.node = node;
    this.tiny = tiny;
    this.#leaks = leaks;
  }

  static async start(
    version: ContainerdVersion,
    options: { config?: string; shimDir?: string } = {},
  ): Promise<NodeUnderTest> {
    const image = await tinyGuestImage();
    const markers: string[] = [];
    const leaks = await leakCheck({ markers });
    const node = await TrineNode.start({ version, ...options });
    // Known only now; nothing bore these names before.
    markers.push(node.dir, node.containerd.cgroupParent);
    await node.containerd.importImage(image);
    return new NodeUnderTest(node, image.name, leaks);
  }

  /** Ends the node; nothing of it may be left, and nothing may have needed force. */
  async end(): Promise<void> {
    expect(withoutKubelets(await this.node.stop())).toEqual([]);
    expect(await this.#leaks.leaks()).toEqual([]);
  }

  /** Notes what is there now; its `leaks` are what later pods leave of themselves. */
  async podLeakCheck(): Promise<LeakCheck> {
    const { node } = this;
    // What the first pod of a node makes once is no leak of the next ones.
    await node.remove(await this.machine("first"));
    const check = await leakCheck({
      markers: [node.stateDir, node.containerd.cgroupParent, `${node.dir}/c/state`],
      roots: [node.stateDir, node.rootDir, `${node.dir}/c/state`],
      bridges: [node.containerd.bridge.name],
    });
    return {
      leaks: (ms = 5_000) => {
        const end = performance.now() + ms;
        return pollUntil("nothing is left", { ms: ms + 5_000, everyMs: 100 }, async () => {
          const left = withoutKubelets(await check.leaks(0));
          return left.length === 0 || performance.now() > end ? left : undefined;
        });
      },
    };
  }

  get runtime(): TrineNode["containerd"]["cri"]["runtime"] {
    return this.node.containerd.cri.runtime;
  }

  machine(name: string, options: MachineOptions = {}): Promise<RunningPod> {
    const { annotations, image, memory, ...rest } = options;
    return this.node.run({
      name,
      image: image ?? this.tiny,
      annotations: { "trine.dev/memory": memory ?? "128Mi", ...annotations },
      ...rest,
    });
  }

  /** A machine whose guest has come up. */
  async booted(name: string, options: MachineOptions = {}): Promise<RunningPod> {
    const pod = await this.machine(name, options);
    await this.node.untilOutput(pod, READY, BOOT_MS);
    return pod;
  }

  async exec(pod: RunningPod, ...cmd: string[]): Promise<ExecResult> {
    const answer = await this.runtime.execSync(
      { containerId: pod.containerId, cmd, timeout: 30n },
      { timeoutMs: 40_000 },
    );
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
    return {
      exitCode: answer.exitCode,
      stdout: text(answer.stdout),
      stderr: text(answer.stderr),
    };
  }

  sh(pod: RunningPod, script: string): Promise<ExecResult> {
    return this.exec(pod, "/bin/sh", "-c", script);
  }

  async views(): Promise<PodView[]> {
    const { items } = JSON.parse((await this.node.api("/v1/pods")).body) as { items: PodView[] };
    return items;
  }

  async view(pod: Pick<RunningPod, "podSandboxId">): Promise<PodView> {
    const found = (await this.views()).find((item) => item.sandboxId === pod.podSandboxId);
    if (found === undefined) throw new TrineError("notFound", `no pod ${pod.podSandboxId}`);
    return found;
  }

  /** Process id of the pod's VMM. */
  async vmm(pod: RunningPod): Promise<number> {
    const { machine } = await this.view(pod);
    if (machine === undefined) throw new TrineError("notFound", `${pod.podSandboxId}: no machine`);
    return machine.pid;
  }

  /** The pod's directory under the state directory. */
  async podDir(pod: RunningPod): Promise<string> {
    const { machine } = await this.view(pod);
    if (machine === undefined) throw new TrineError("notFound", `${pod.podSandboxId}: no machine`);
    return machine.consoleSocket.replace(/\/[^/]*$/, "");
  }

  async isReady(): Promise<boolean> {
    return (await this.node.api("/readyz")).status === 200;
  }

  get trinedPid(): number {
    const pid = this.node.trinedPid;
    if (pid === undefined) throw new TrineError("wrongState", "trined is not running");
    return pid;
  }

  /** What trined's descriptors lead to, numbers of sockets and the like left out. */
  async trinedFds(): Promise<string[]> {
    const dir = `/proc/${this.trinedPid}/fd`;
    const links = (await readdir(dir)).map((fd) => readlink(`${dir}/${fd}`).catch(() => ""));
    return (await Promise.all(links)).map((link) => link.replace(/:\[\d+\]$/, "")).sort();
  }
}

function withoutKubelets(traces: readonly string[]): string[] {
  return traces.filter((trace) => !KUBELETS.test(trace));
}

/** A field of /proc/PID/status, e.g. VmRSS in KiB. */
export async function statusField(pid: number, field: string): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return new RegExp(`^${field}:[ \\t]*(.*)$`, "m").exec(status)?.[1] ?? "";
}

export async function rssMiB(pid: number): Promise<number> {
  return Number.parseInt(await statusField(pid, "VmRSS"), 10) / 1024;
}

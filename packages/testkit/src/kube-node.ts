import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Undo, messageOf, pollUntil } from "@trine/base";
import { freePort } from "./free-port.ts";
import { cgroupsOf, makeCgroup, removeCgroups, unmountAll } from "./host-traces.ts";
import type { KubeControlPlane } from "./kube-control-plane.ts";
import { type KubeletOptions, kubeletCommand, kubeletConfig } from "./kube-kubelet.ts";
import { LoggedProcess } from "./kube-process.ts";
import { runCommand } from "./run-command.ts";
import type { TrineNode } from "./trine-node.ts";

export interface KubeNodeOptions {
  readonly name: string;
  /** Its containerd and trined; `stop` ends them too. */
  readonly trine: TrineNode;
  readonly control: KubeControlPlane;
  /** Directory with Kubernetes' programs. */
  readonly binaries: string;
  /** Of the CRI server that kubelet asks. */
  readonly criSocket: string;
}

/** A node of a test cluster: a kubelet on a containerd and a trined that are its own. */
export class KubeNode {
  readonly name: string;
  readonly trine: TrineNode;
  /** The pod bridge's own. */
  readonly address: string;
  /** As kubelet: system:node:NAME. */
  readonly kubeconfig: string;
  readonly #control: KubeControlPlane;
  readonly #kubelet: LoggedProcess;
  readonly #rootDir: string;

  private constructor(of: KubeNodeOptions, kubelet: LoggedProcess, options: KubeletOptions) {
    this.name = of.name;
    this.trine = of.trine;
    this.address = options.address;
    this.kubeconfig = options.kubeconfig;
    this.#control = of.control;
    this.#kubelet = kubelet;
    this.#rootDir = options.rootDir;
  }

  /** What kubelet needs; it is not started. Whoever makes it stops it. */
  static async create(of: KubeNodeOptions): Promise<KubeNode> {
    const options = await kubeletOptions(of);
    await mkdir(options.rootDir, { recursive: true });
    // kubelet's mounts reach containerd out of kubelet's own mount namespace.
    await runCommand("mount", ["--bind", options.rootDir, options.rootDir]);
    await runCommand("mount", ["--make-shared", options.rootDir]);
    await makeCgroup(options.cgroupRoot);
    const config = join(options.dir, "kubelet.yaml");
    await writeFile(config, JSON.stringify(kubeletConfig(options)));
    const command = kubeletCommand(join(of.binaries, "kubelet"), config, options);
    const log = join(options.dir, "kubelet.log");
    return new KubeNode(of, new LoggedProcess("kubelet", command, log), options);
  }

  async startKubelet(): Promise<void> {
    await this.#kubelet.start();
  }

  /** As a crash would; its pods go on. */
  async killKubelet(): Promise<void> {
    await this.#kubelet.end("SIGKILL");
  }

  kubeletLog(lines = 20): Promise<string> {
    return this.#kubelet.logTail(lines);
  }

  async untilReady(): Promise<void> {
    await this.#kubelet.untilReady(async () => {
      const node = await this.#control.kubectl
        .get<{ status: { conditions: { type: string; status: string }[] } }>("node", this.name)
        .catch(() => undefined);
      const ready = node?.status.conditions.find(({ type }) => type === "Ready");
      return ready?.status === "True";
    });
  }

  /** Control groups of pods that kubelet has not removed within its housekeeping's time. */
  async podCgroups(): Promise<string[]> {
    const name = basename(this.trine.containerd.cgroupParent);
    let left: string[] = [];
    await pollUntil(
      "kubelet has removed its pods' cgroups",
      { ms: 20_000, everyMs: 250 },
      async () => {
        left = (await cgroupsOf(name)).filter((path) => /\/pod[0-9a-f-]{36}/.test(path));
        return left.length === 0 || undefined;
      },
    ).catch(() => undefined);
    return left.map((path) => `cgroup ${path}`);
  }

  /** Ends kubelet, then what is below it; answers what went wrong and what was left. */
  async stop(): Promise<string[]> {
    const problems: string[] = [];
    // Newest first, each whatever becomes of the others.
    const undo = new Undo();
    undo.defer("node", async () => problems.push(...(await this.trine.stop())));
    undo.defer("mounts", () => unmountAll(this.#rootDir));
    // These are kubelet's own. What is left of a pod's is found by `podCgroups`, and by the node.
    const cgroups = `${basename(this.trine.containerd.cgroupParent)}/kubepods`;
    undo.defer("cgroups", () => removeCgroups(cgroups));
    undo.defer("kubelet", () => this.#kubelet.end());
    const failed = await undo.run();
    return [...problems, ...failed.map(({ what, cause }) => `${what}: ${messageOf(cause)}`)];
  }
}

async function kubeletOptions(of: KubeNodeOptions): Promise<KubeletOptions> {
  const { authority, server } = of.control;
  const dir = join(of.trine.dir, "k");
  const address = of.trine.containerd.bridge.gateway;
  const subject = { user: `system:node:${of.name}`, group: "system:nodes" };
  const serving = { ...subject, ips: [address] };
  return {
    dir,
    rootDir: join(dir, "kubelet"),
    nodeName: of.name,
    address,
    port: await freePort(),
    cgroupRoot: of.trine.containerd.cgroupParent,
    criSocket: of.criSocket,
    authority: authority.cert,
    serving: await authority.sign(`kubelet-${of.name}`, serving),
    kubeconfig: await authority.kubeconfig(of.name, server, subject),
  };
}

import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Undo, messageOf, pollUntil } from "@trine/base";
import { freePort } from "./free-port.ts";
import { cgroupsOf, makeCgroup, removeCgroups, unmountAll } from "./host-traces.ts";
import { kubeBinaries } from "./kube-binaries.ts";
import { KubeControlPlane } from "./kube-control-plane.ts";
import { type KubeletOptions, kubeletCommand, kubeletConfig } from "./kube-kubelet.ts";
import { LoggedProcess } from "./kube-process.ts";
import type { KubeObject, Kubectl } from "./kubectl.ts";
import { runCommand } from "./run-command.ts";
import { TrineNode, type TrineNodeOptions } from "./trine-node.ts";

const RUNTIME_CLASSES = join(import.meta.dirname, "../../../deploy/kubernetes/runtimeclasses.yaml");
const NODE = "node-1";

/** Kubernetes with one node: the real programs on a containerd and a trined of their own. */
export class KubeCluster {
  readonly node: TrineNode;
  readonly kubectl: Kubectl;
  /** The node's address: the pod bridge's own. */
  readonly address: string;
  readonly nodeName = NODE;
  /** Directory with Kubernetes' programs and agnhost. */
  readonly binaries: string;
  readonly kubeconfig: string;
  readonly #control: KubeControlPlane;
  readonly #kubelet: LoggedProcess;
  readonly #dir: string;

  private constructor(of: {
    node: TrineNode;
    binaries: string;
    control: KubeControlPlane;
    kubelet: LoggedProcess;
    dir: string;
  }) {
    this.node = of.node;
    this.address = of.node.containerd.bridge.gateway;
    this.binaries = of.binaries;
    this.kubeconfig = of.control.kubeconfig;
    this.kubectl = of.control.kubectl;
    this.#control = of.control;
    this.#kubelet = of.kubelet;
    this.#dir = of.dir;
  }

  /** Starts all of it, kubelet on the gateway's socket where there is one; the node is Ready and pods may be made in namespace `default`. */
  static async start(options: Omit<TrineNodeOptions, "version">): Promise<KubeCluster> {
    const binaries = await kubeBinaries();
    const node = await TrineNode.start({ version: "2.4", ...options });
    const dir = join(node.dir, "k");
    const address = node.containerd.bridge.gateway;
    const undo = new Undo();
    undo.defer("node", () => node.stop());
    try {
      const control = await KubeControlPlane.start({ dir, binaries, address });
      undo.defer("mounts", () => unmountAll(join(dir, "kubelet")));
      undo.defer("control plane", () => control.stop());
      const isBehind = options.gateway !== undefined;
      const criSocket = isBehind ? node.gatewaySocket : node.containerd.socket;
      const kubelet = await makeKubelet({ dir, binaries, node, control, criSocket });
      const cluster = new KubeCluster({ node, binaries, control, kubelet, dir });
      undo.defer("kubelet", () => kubelet.end());
      await kubelet.start();
      await cluster.#untilReady();
      return cluster;
    } catch (cause) {
      const left = await undo.run();
      if (left.length === 0) throw cause;
      const problems = left.map((each) => `${each.what}: ${messageOf(each.cause)}`).join("; ");
      throw new Error(`${messageOf(cause)}; not cleared: ${problems}`, { cause });
    }
  }

  async #untilReady(): Promise<void> {
    const { kubectl } = this;
    await kubectl.run("apply", "-f", RUNTIME_CLASSES);
    await this.#untilNodeReady();
    // Pods are refused before it is there.
    await pollUntil("the default service account", { ms: 60_000, everyMs: 200 }, () =>
      kubectl.get<KubeObject>("serviceaccount", "default").catch(() => undefined),
    );
  }

  async #untilNodeReady(): Promise<void> {
    await this.#kubelet.untilReady(async () => {
      const node = await this.kubectl
        .get<{ status: { conditions: { type: string; status: string }[] } }>("node", NODE)
        .catch(() => undefined);
      const ready = node?.status.conditions.find(({ type }) => type === "Ready");
      return ready?.status === "True";
    });
  }

  /** Ends kubelet as a crash would and starts it again; pods go on. */
  async restartKubelet(): Promise<void> {
    await this.#kubelet.end("SIGKILL");
    await this.#kubelet.start();
    await this.#untilNodeReady();
  }

  kubeletLog(lines = 20): Promise<string> {
    return this.#kubelet.logTail(lines);
  }

  /** Deletes all pods in order, ends everything and answers what went wrong and what was left. */
  async stop(): Promise<string[]> {
    const problems = [...(await this.#deletePods()), ...(await this.#podCgroups())];
    // Newest first, each whatever becomes of the others.
    const undo = new Undo();
    undo.defer("node", async () => problems.push(...(await this.node.stop())));
    undo.defer("mounts", () => unmountAll(join(this.#dir, "kubelet")));
    // These are kubelet's own. What is left of a pod's is found here, and by the node.
    const cgroups = `${basename(this.node.containerd.cgroupParent)}/kubepods`;
    undo.defer("cgroups", () => removeCgroups(cgroups));
    undo.defer("control plane", () => this.#control.stop());
    undo.defer("kubelet", () => this.#kubelet.end());
    const failed = await undo.run();
    return [...problems, ...failed.map(({ what, cause }) => `${what}: ${messageOf(cause)}`)];
  }

  async #deletePods(): Promise<string[]> {
    const kinds = "deployments,statefulsets,daemonsets,jobs,replicasets,pods";
    const words = ["--all", "--all-namespaces", "--grace-period=1", "--timeout=90s"];
    return this.kubectl.run("delete", kinds, ...words).then(
      () => [],
      (cause: unknown) => [messageOf(cause)],
    );
  }

  /** Control groups of pods that kubelet could not remove within its housekeeping's time. */
  async #podCgroups(): Promise<string[]> {
    const name = basename(this.node.containerd.cgroupParent);
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
}

async function makeKubelet(of: {
  dir: string;
  binaries: string;
  node: TrineNode;
  control: KubeControlPlane;
  criSocket: string;
}): Promise<LoggedProcess> {
  const { authority, server } = of.control;
  const address = of.node.containerd.bridge.gateway;
  const user = `system:node:${NODE}`;
  const options: KubeletOptions = {
    dir: of.dir,
    rootDir: join(of.dir, "kubelet"),
    nodeName: NODE,
    address,
    port: await freePort(),
    cgroupRoot: of.node.containerd.cgroupParent,
    criSocket: of.criSocket,
    authority: authority.cert,
    serving: await authority.sign("kubelet", { user, group: "system:nodes", ips: [address] }),
    kubeconfig: await authority.kubeconfig(NODE, server, { user, group: "system:nodes" }),
  };
  await mkdir(options.rootDir);
  // kubelet's mounts reach containerd out of kubelet's own mount namespace.
  await runCommand("mount", ["--bind", options.rootDir, options.rootDir]);
  await runCommand("mount", ["--make-shared", options.rootDir]);
  await makeCgroup(options.cgroupRoot);
  const config = join(of.dir, "kubelet.yaml");
  await writeFile(config, JSON.stringify(kubeletConfig(options)));
  const command = kubeletCommand(join(of.binaries, "kubelet"), config, options);
  return new LoggedProcess("kubelet", command, join(of.dir, "kubelet.log"));
}

import { join } from "node:path";
import { Undo, messageOf, pollUntil } from "@trine/base";
import { kubeBinaries } from "./kube-binaries.ts";
import { KubeControlPlane } from "./kube-control-plane.ts";
import { KubeNode } from "./kube-node.ts";
import type { KubeObject, Kubectl } from "./kubectl.ts";
import { TrineControl } from "./trine-control.ts";
import { TrineNode, type TrineNodeOptions } from "./trine-node.ts";

const RUNTIME_CLASSES = join(import.meta.dirname, "../../../deploy/kubernetes/runtimeclasses.yaml");
const NODE = "node-1";

export interface KubeClusterOptions extends Omit<TrineNodeOptions, "version"> {
  /** Trine's own control plane too, and nodes whose doors are open to it. */
  readonly machines?: boolean;
}

/** Kubernetes with one node (`addNode` makes more): the real programs, each node with a containerd and a trined of its own. */
export class KubeCluster {
  readonly kubectl: Kubectl;
  /** Directory with Kubernetes' programs and agnhost. */
  readonly binaries: string;
  readonly kubeconfig: string;
  /** etcd, the API server and Kubernetes' controllers. */
  readonly plane: KubeControlPlane;
  readonly nodes: KubeNode[] = [];
  readonly #options: KubeClusterOptions;
  #control: TrineControl | undefined;

  private constructor(of: {
    binaries: string;
    plane: KubeControlPlane;
    options: KubeClusterOptions;
  }) {
    this.binaries = of.binaries;
    this.kubeconfig = of.plane.kubeconfig;
    this.kubectl = of.plane.kubectl;
    this.plane = of.plane;
    this.#options = of.options;
  }

  /** Starts all of it, kubelet on the gateway's socket where there is one; the node is Ready and pods may be made in namespace `default`. */
  static async start(options: KubeClusterOptions): Promise<KubeCluster> {
    const binaries = await kubeBinaries();
    const node = await TrineNode.start({ version: "2.4", ...options });
    const dir = join(node.dir, "k");
    const address = node.containerd.bridge.gateway;
    const undo = new Undo();
    let cluster: KubeCluster | undefined;
    undo.defer("node", async () => {
      // Where it has joined, the cluster has ended it.
      if (cluster?.nodes.length !== 1) await node.stop();
    });
    try {
      const plane = await KubeControlPlane.start({ dir, binaries, address });
      undo.defer("control plane", () => plane.stop());
      cluster = new KubeCluster({ binaries, plane, options });
      undo.defer("what runs on it", async () => cluster?.stop());
      await cluster.#furnish(node, dir);
      return cluster;
    } catch (cause) {
      const left = await undo.run();
      if (left.length === 0) throw cause;
      const problems = left.map((each) => `${each.what}: ${messageOf(each.cause)}`).join("; ");
      throw new Error(`${messageOf(cause)}; not cleared: ${problems}`, { cause });
    }
  }

  async #furnish(node: TrineNode, dir: string): Promise<void> {
    const { kubectl, plane } = this;
    await kubectl.run("apply", "-f", RUNTIME_CLASSES);
    if (this.#options.machines === true) this.#control = await TrineControl.start(plane, dir);
    await this.#join(NODE, node);
    // Pods are refused before it is there.
    await pollUntil("the default service account", { ms: 60_000, everyMs: 200 }, () =>
      kubectl.get<KubeObject>("serviceaccount", "default").catch(() => undefined),
    );
  }

  /** Another node, with a containerd and a trined of its own on a pod bridge of its own; it is Ready. */
  async addNode(name: string): Promise<KubeNode> {
    const node = await TrineNode.start({ version: "2.4", ...this.#options });
    try {
      return await this.#join(name, node);
    } catch (cause) {
      if (!this.nodes.some(({ trine }) => trine === node)) await node.stop();
      throw cause;
    }
  }

  async #join(name: string, trine: TrineNode): Promise<KubeNode> {
    const { plane: control, binaries } = this;
    const isBehind = this.#options.gateway !== undefined;
    const criSocket = isBehind ? trine.gatewaySocket : trine.containerd.socket;
    const node = await KubeNode.create({ name, trine, control, binaries, criSocket });
    this.nodes.push(node);
    await node.startKubelet();
    await node.untilReady();
    if (this.#options.machines === true) await trine.openDoor(node);
    return node;
  }

  /** The first node. */
  get first(): KubeNode {
    const [node] = this.nodes;
    if (node === undefined) throw new Error("the cluster has no node yet");
    return node;
  }

  get node(): TrineNode {
    return this.first.trine;
  }

  get nodeName(): string {
    return this.first.name;
  }

  /** The first node's address, which is the API server's too. */
  get address(): string {
    return this.first.address;
  }

  /** Of a cluster with `machines`. */
  get control(): TrineControl {
    if (this.#control === undefined) throw new Error("the cluster was started without machines");
    return this.#control;
  }

  /** Ends kubelet as a crash would and starts it again; pods go on. */
  async restartKubelet(): Promise<void> {
    await this.first.killKubelet();
    await this.first.startKubelet();
    await this.first.untilReady();
  }

  kubeletLog(lines = 20): Promise<string> {
    return this.first.kubeletLog(lines);
  }

  /** Deletes all machines and pods in order, ends everything and answers what went wrong and what was left. */
  async stop(): Promise<string[]> {
    const problems = [...(await this.#deleteMachines()), ...(await this.#deletePods())];
    for (const node of this.nodes) problems.push(...(await node.podCgroups()));
    // Newest first, each whatever becomes of the others. The first node's directory has the control plane's files.
    const undo = new Undo();
    const [first, ...others] = this.nodes.map((node) => async () => {
      problems.push(...(await node.stop()));
    });
    if (first !== undefined) undo.defer("node", first);
    undo.defer("control plane", () => this.plane.stop());
    for (const other of others) undo.defer("node", other);
    undo.defer("trine-control", async () => this.#control?.stop());
    const failed = await undo.run();
    return [...problems, ...failed.map(({ what, cause }) => `${what}: ${messageOf(cause)}`)];
  }

  async #deleteMachines(): Promise<string[]> {
    if (this.#control === undefined) return [];
    return this.#delete("vm,vmirs,vmi");
  }

  #deletePods(): Promise<string[]> {
    const kinds = "deployments,statefulsets,daemonsets,jobs,replicasets,pods";
    return this.#delete(kinds, "--grace-period=1");
  }

  async #delete(kinds: string, ...more: readonly string[]): Promise<string[]> {
    const words = ["--all", "--all-namespaces", "--timeout=90s", ...more];
    return this.kubectl.run("delete", kinds, ...words).then(
      () => [],
      (cause: unknown) => [messageOf(cause)],
    );
  }
}

// Nodes that are only said to be there: this process is scheduler, kubelet and, over TLS with certificates of the cluster's
// signer, the door of each of them.
import { Undo, kindOf } from "@trine/base";
import {
  type KubeClient,
  ListWatchCache,
  NODES,
  PODS,
  type Pod,
  type Stored,
} from "@trine/kube-client";
import type { KubeControlPlane } from "@trine/testkit";
import { HollowDoor } from "./hollow-door.ts";
import { nodeCertificate } from "./node-certificate.ts";

const MIB = 1024 ** 2;

interface Cluster {
  readonly plane: KubeControlPlane;
  readonly client: KubeClient;
  readonly count: number;
}

/** Each pod of the cluster runs on one of them, and each that is to go, goes. */
export class HollowNodes {
  /** Writes of this process on pods' status: they are not the control plane's. */
  patches = 0;
  readonly #client: KubeClient;
  readonly #doors: HollowDoor[] = [];
  readonly #undo = new Undo();

  private constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Somebody signs their certificates meanwhile. */
  static async start(of: Cluster): Promise<HollowNodes> {
    const nodes = new HollowNodes(of.client);
    try {
      for (let index = 0; index < of.count; index += 1) await nodes.#add(of, index);
      nodes.#runPods();
    } catch (cause) {
      await nodes.stop();
      throw cause;
    }
    return nodes;
  }

  /** How many doors somebody watches. */
  get watched(): number {
    return this.#doors.filter(({ watchers }) => watchers.size > 0).length;
  }

  async stop(): Promise<void> {
    const [failed] = await this.#undo.run();
    if (failed !== undefined) throw failed.cause;
  }

  async #add({ plane, client }: Cluster, index: number): Promise<void> {
    const [name, host] = [`hollow-${index}`, `127.77.${index >> 8}.${index & 255}`];
    const node = await client.create(NODES, { metadata: { name } });
    this.#undo.defer(name, () => client.delete(NODES, { name }));
    const status = { addresses: [{ type: "InternalIP", address: host }] };
    await client.update(NODES, { ...node, status }, { subresource: "status" });
    const door = new HollowDoor(await nodeCertificate(plane, client, { name, host }));
    await door.listen(host);
    this.#doors.push(door);
    this.#undo.defer(`door of ${name}`, () => door.close());
  }

  #runPods(): void {
    const problems: unknown[] = [];
    const cache = new ListWatchCache(this.#client, PODS, {
      onProblem: (cause) => problems.push(cause),
    });
    const begun = new Set<string>();
    cache.onChange((_, pod) => {
      if (pod === undefined) return;
      const { uid, deletionTimestamp } = pod.metadata;
      const key = `${uid} ${deletionTimestamp === undefined ? "runs" : "goes"}`;
      if (begun.has(key)) return;
      begun.add(key);
      const done = deletionTimestamp === undefined ? this.#run(pod, begun.size) : this.#end(pod);
      done.catch((cause: unknown) => {
        // Whoever made it was faster in taking it back.
        if (kindOf(cause) === "notFound") return;
        console.error(cause);
        process.exitCode = 1;
      });
    });
    const end = new AbortController();
    const run = cache.run(end.signal);
    this.#undo.defer("pods", async () => {
      end.abort();
      await run;
    });
  }

  async #run(pod: Stored<Pod>, number: number): Promise<void> {
    const { name, uid, namespace = "" } = pod.metadata;
    const index = number % this.#doors.length;
    const target = { apiVersion: "v1", kind: "Node", name: `hollow-${index}` };
    const binding = { apiVersion: "v1", kind: "Binding", metadata: { name }, target };
    await this.#client.request("POST", `/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
      body: JSON.stringify(binding),
      contentType: "application/json",
    });
    const since = new Date().toISOString();
    this.patches += 1;
    const value = runningStatus(since);
    await this.#client.patch(PODS, { namespace, name }, [{ op: "add", path: "/status", value }], {
      subresource: "status",
    });
    this.#doors[index]?.say({
      ...{ namespace, pod: name, uid, sandboxId: uid, phase: "running", since, accelerator: "kvm" },
      cpus: { sockets: 1, cores: 1, threads: 1 },
      memory: { guestBytes: 64 * MIB, overheadBytes: 50 * MIB },
      interfaces: [
        { name: "eth0", mac: "02:00:00:00:00:01", addresses: ["10.1.0.1"], fromGuest: true },
      ],
      agent: { connected: true, frozen: false },
      disks: [],
    });
  }

  async #end({ metadata }: Stored<Pod>): Promise<void> {
    const { name, namespace = "", uid } = metadata;
    for (const door of this.#doors) door.forget(uid);
    await this.#client.delete(PODS, { namespace, name }, { uid, gracePeriodSeconds: 0 });
  }
}

function runningStatus(since: string): object {
  const types = ["Initialized", "Ready", "ContainersReady", "PodScheduled"];
  const compute = { name: "compute", ready: true, started: true, restartCount: 0 };
  return {
    ...{ phase: "Running", podIP: "10.1.0.1", qosClass: "Burstable", startTime: since },
    conditions: types.map((type) => ({ type, status: "True" })),
    containerStatuses: [
      { ...compute, image: "i", imageID: "", state: { running: { startedAt: since } } },
    ],
  };
}

// Machines and plain pods of a whole cluster (Kubernetes, Trine's control plane, one node), made at a rate and seen by one watch.
import { Undo, pollUntil, sleep } from "@trine/base";
import {
  KubeClient,
  type KubeObject,
  ListWatchCache,
  PODS,
  type Pod,
  type Resource,
  SECRETS,
  type Stored,
  placeOf,
  readKubeconfig,
  resourceOf,
} from "@trine/kube-client";
import { VIRTUAL_MACHINE_INSTANCE, type VirtualMachineInstance } from "@trine/kube-types";
import { type NodeDoor, openDoor } from "@trine/node-door";
import { KubeCluster, busyboxImage, idleGuestImage, tinyGuestImage } from "@trine/testkit";

const NAMESPACE = "default";
const LONG_MS = 1_200_000;
const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);

/** When each object was first seen so. */
class Seen<T extends KubeObject> {
  readonly #at = new Map<string, number>();
  readonly #gone = new Set<string>();

  constructor(cache: ListWatchCache<T>, keyOf: (object: Stored<T>) => string | undefined) {
    cache.onChange((before, after) => {
      const key = after === undefined ? undefined : keyOf(after);
      if (key !== undefined && !this.#at.has(key)) this.#at.set(key, performance.now());
      if (after === undefined && before !== undefined) this.#gone.add(before.metadata.name);
    });
  }

  until(key: string): Promise<number> {
    return pollUntil(`${key} is seen`, { ms: LONG_MS, everyMs: 20 }, () => this.#at.get(key));
  }

  async untilGone(name: string): Promise<void> {
    await pollUntil(`${name} is gone`, { ms: LONG_MS, everyMs: 50 }, () =>
      this.#gone.has(name) ? true : undefined,
    );
  }
}

/** What a machine boots: a sector that halts, or a Linux of busybox. */
export type Guest = "idle" | "linux";

const IMAGES = { idle: "trine.test/idle-guest:1", linux: "trine.test/tiny-guest:1" } as const;

export interface Start {
  /** The API server has answered the create. */
  readonly createdAt: number;
  readonly runningAt: number;
}

export class KubeMachines {
  readonly #client: KubeClient;
  readonly #cluster: KubeCluster;
  /** An instance's phase is Running. */
  readonly #running: Seen<VirtualMachineInstance>;
  readonly #ready: Seen<Pod>;
  /** An instance has a pod: by the instance's name. */
  readonly #made: Seen<Pod>;
  readonly #undo: Undo;

  private constructor(cluster: KubeCluster, client: KubeClient, undo: Undo) {
    this.#cluster = cluster;
    this.#client = client;
    this.#undo = undo;
    const problems: unknown[] = [];
    const onProblem = (cause: unknown): number => problems.push(cause);
    const instances = new ListWatchCache(client, INSTANCES, { onProblem });
    const pods = new ListWatchCache(client, PODS, { onProblem });
    this.#running = new Seen(instances, ({ metadata, status }) =>
      status?.phase === "Running" ? metadata.name : undefined,
    );
    this.#ready = new Seen(pods, ({ metadata, status }) =>
      status?.containerStatuses?.every(({ state }) => state?.running !== undefined) === true
        ? metadata.name
        : undefined,
    );
    this.#made = new Seen(pods, ({ metadata }) => metadata.labels?.["vmi.kubevirt.io/id"]);
    const end = new AbortController();
    const ran = Promise.all([instances.run(end.signal), pods.run(end.signal)]);
    undo.defer("watches", async () => {
      end.abort();
      await ran;
    });
  }

  static async start(): Promise<KubeMachines> {
    const images = [await busyboxImage(), await idleGuestImage(), await tinyGuestImage()];
    const cluster = await KubeCluster.start({ machines: true });
    const undo = new Undo();
    undo.defer("cluster", () => cluster.stop());
    const client = new KubeClient(await readKubeconfig(cluster.kubeconfig));
    undo.defer("client", async () => {
      client.close();
      await Promise.resolve();
    });
    for (const image of images) await cluster.node.containerd.importImage(image);
    return new KubeMachines(cluster, client, undo);
  }

  async stop(): Promise<void> {
    const [failed] = await this.#undo.run();
    if (failed !== undefined) throw failed.cause;
  }

  /** When the API server has had an instance's pod. */
  madeAt(name: string): Promise<number> {
    return this.#made.until(name);
  }

  /** Listens to the node as the control plane does; answers when it has said that an instance's machine runs. */
  async listenToNode(): Promise<(name: string) => number | undefined> {
    const door = await this.#door();
    const at = new Map<string, number>();
    const end = new AbortController();
    const first = Promise.withResolvers<undefined>();
    const read = async (): Promise<void> => {
      for await (const event of door.watch(end.signal)) {
        if (event.type === "state") first.resolve(undefined);
        if (event.type !== "machine" || event.object.phase !== "running") continue;
        const [, name = ""] = /^virt-launcher-(.+)-[a-z0-9]+$/.exec(event.object.pod) ?? [];
        if (!at.has(name)) at.set(name, performance.now());
      }
    };
    const done = read().catch((cause: unknown) => {
      first.reject(cause);
      if (!end.signal.aborted) throw cause;
    });
    this.#undo.defer("door", async () => {
      end.abort();
      await done;
      door.close();
    });
    await first.promise;
    return (name) => at.get(name);
  }

  async #door(): Promise<NodeDoor> {
    const { nodeName: node, address: host } = this.#cluster;
    const at = { namespace: "trine-system", name: "trine-control-client" };
    const { data = {} } = await this.#client.get(SECRETS, at);
    const pem = (key: string): string => Buffer.from(data[key] ?? "", "base64").toString();
    const credentials = {
      certificate: pem("tls.crt"),
      key: pem("tls.key"),
      authority: pem("ca.crt"),
    };
    return openDoor({ node, host, credentials: () => credentials });
  }

  /** Instances at that rate; each as it was seen, in the order of their making. */
  machines(
    of: { readonly name: string; readonly count: number; readonly everyMs: number },
    guest: Guest,
  ): Promise<Start[]> {
    const make = (name: string): VirtualMachineInstance => instanceOf(name, IMAGES[guest]);
    return this.#burst(INSTANCES, of, make, (each) => this.#running.until(each));
  }

  /** The same of pods with runc. */
  pods(of: {
    readonly name: string;
    readonly count: number;
    readonly everyMs: number;
  }): Promise<Start[]> {
    return this.#burst(PODS, of, podOf, (each) => this.#ready.until(each));
  }

  async #burst<T extends KubeObject>(
    resource: Resource<T>,
    of: { readonly name: string; readonly count: number; readonly everyMs: number },
    make: (name: string) => T,
    until: (name: string) => Promise<number>,
  ): Promise<Start[]> {
    const starts: Promise<Start>[] = [];
    const names = Array.from({ length: of.count }, (_, index) => `${of.name}-${index}`);
    for (const name of names) {
      const next = sleep(of.everyMs);
      starts.push(
        this.#client.create(resource, make(name)).then(async () => {
          const createdAt = performance.now();
          return { createdAt, runningAt: await until(name) };
        }),
      );
      await next;
    }
    const all = await Promise.all(starts);
    for (const name of names) {
      await this.#client.delete(resource, placeOf(`${NAMESPACE}/${name}`));
    }
    const seen = resource.kind === "Pod" ? this.#ready : this.#running;
    await Promise.all(names.map((name) => seen.untilGone(name)));
    return all;
  }
}

const RESOURCES = { requests: { cpu: "10m", memory: "16Mi" } };

function podOf(name: string): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: NAMESPACE, name },
    spec: {
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      containers: [
        {
          ...{ name: "main", image: "trine.test/busybox:1", imagePullPolicy: "Never" },
          ...{ command: ["sleep", "100000"], resources: RESOURCES },
        },
      ],
    },
  };
}

/** As KubeVirt measures: one processor, one network behind masquerade. */
function instanceOf(name: string, image: string): VirtualMachineInstance {
  const domain = {
    memory: { guest: "64Mi" },
    resources: { requests: { cpu: "10m" } },
    devices: {
      disks: [{ name: "root", disk: { bus: "virtio" } }],
      interfaces: [{ name: "default", masquerade: {} }],
    },
  };
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstance",
    metadata: { namespace: NAMESPACE, name },
    spec: {
      terminationGracePeriodSeconds: 0,
      domain,
      networks: [{ name: "default", pod: {} }],
      volumes: [{ name: "root", containerDisk: { image, imagePullPolicy: "IfNotPresent" } }],
    },
  };
}

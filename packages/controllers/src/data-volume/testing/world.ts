// The API server's twin in memory with one volume, its reconciler, and beside it what binds claims and runs pods.
import { CLAIMS, PODS, type Pod, type Stored, keyOf } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import type { DataVolume } from "@trine/kube-types";
import { FILLER_LABEL } from "@trine/node-door";
import type { ImportReport } from "@trine/node-door";
import { controlCaches } from "../../caches.ts";
import { KUBEVIRTS } from "../../installation/controller.ts";
import { DATA_VOLUMES } from "../../kinds.ts";
import { type VolumeDeps, volumeCaches } from "../look.ts";
import { VolumeReconciler } from "../reconcile-dv.ts";
import { STORAGE_CLASSES, type StorageClass } from "../storage.ts";

/** Where the volume is. */
export const AT = { namespace: "shop", name: "disk" };
const signal = new AbortController().signal;
const MOST_ROUNDS = 60;
export const COPY_KEY = Buffer.alloc(32, 7);

/** Of a volume from a URL. */
export const HTTP = {
  source: { http: { url: "https://images.test/disk.qcow2" } },
  storage: { resources: { requests: { storage: "10Gi" } } },
};
export class World {
  readonly kube = new MemoryKube({ now: () => Date.parse("2026-01-02T04:00:00Z") });
  readonly events: string[] = [];
  /** Givers and takers that were joined. */
  readonly joined: (readonly [giver: string, taker: string])[] = [];
  readonly #deps: VolumeDeps;
  #reconciler: VolumeReconciler;
  #isAtWork = false;
  /** Of its volumes. */
  readonly #names = new Set([AT.name]);
  /** What nodes say of their imports. */
  report: Pick<ImportReport, "state" | "progress"> | undefined;
  /** Whether what binds claims is at work. */
  binds = true;

  constructor() {
    const make: Parameters<typeof controlCaches>[0] = (resource, indices) =>
      this.kube.cache(resource, indices);
    this.#deps = {
      api: this.kube,
      caches: { ...controlCaches(make), ...volumeCaches(make), kubeVirts: make(KUBEVIRTS) },
      events: { record: (_, { reason }) => this.events.push(reason) },
      now: () => new Date("2026-01-02T04:00:00Z"),
      onFailure: () => undefined,
      emptyImage: "empty:1",
      copyKey: () => COPY_KEY,
      join: (giver, taker) => this.joined.push([keyOf(giver), keyOf(taker)]),
      reportOf: ({ metadata: { namespace = "", name: pod, uid } }) =>
        Promise.resolve(
          this.report && { namespace, pod, uid, container: "import", ...this.report },
        ),
    };
    this.#reconciler = new VolumeReconciler(this.#deps);
  }

  /** Before or after each write of the controller's own; what the hook throws it gets. */
  onWrite(when: "before" | "after", hook: () => void): void {
    this.kube.hooks[when] = () => {
      if (this.#isAtWork) hook();
    };
  }

  /** What a new leader is: it remembers nothing. */
  restart(): void {
    this.#reconciler = new VolumeReconciler(this.#deps);
  }

  async add(
    spec: DataVolume["spec"],
    annotations: Readonly<Record<string, string>> = {},
    name = AT.name,
  ): Promise<void> {
    this.#names.add(name);
    await this.kube.create(DATA_VOLUMES, {
      apiVersion: "cdi.kubevirt.io/v1beta1",
      kind: "DataVolume",
      metadata: { ...AT, name, annotations },
      spec,
    });
  }

  /** `metadata`: absent = that of the default. */
  async addClass(
    volumeBindingMode: string,
    metadata: NonNullable<StorageClass["metadata"]> = {
      name: "local",
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
  ): Promise<void> {
    await this.kube.create(STORAGE_CLASSES, {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata,
      volumeBindingMode,
    });
  }

  volume(): Promise<Stored<DataVolume>> {
    return this.kube.get(DATA_VOLUMES, AT);
  }

  async phase(): Promise<string> {
    return (await this.volume()).status?.phase ?? "";
  }

  /** Those that fill, or those of another namespace that give. */
  async pods(namespace = AT.namespace): Promise<readonly Stored<Pod>[]> {
    return (await this.kube.list(PODS, { namespace, labelSelector: FILLER_LABEL })).items;
  }

  /** What kubelet says of the one pod. */
  async run(
    phase: string,
    state: NonNullable<Pod["status"]>["containerStatuses"] = [],
    why: Pick<NonNullable<Pod["status"]>, "reason" | "message"> = {},
    namespace = AT.namespace,
  ): Promise<void> {
    const [pod] = await this.pods(namespace);
    if (pod === undefined) throw new Error("there is no pod");
    const status = { phase, containerStatuses: state, ...why };
    await this.kube.update(PODS, { ...pod, status }, { subresource: "status" });
  }

  async #bind(): Promise<void> {
    for (const claim of (await this.kube.list(CLAIMS, {})).items) {
      if (!this.binds || claim.status?.phase === "Bound") continue;
      const status = { phase: "Bound", capacity: { storage: "20Gi" } };
      await this.kube.update(CLAIMS, { ...claim, status }, { subresource: "status" });
    }
  }

  /** Until nothing is written any more. Whatever fails is tried again, as the queue does. */
  async settle(): Promise<unknown> {
    let failed: unknown;
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const { length } = this.kube.writes;
      failed = undefined;
      this.#isAtWork = true;
      for (const name of this.#names) {
        const key = `${AT.namespace}/${name}`;
        await this.#reconciler.reconcile(key, signal).catch((cause: unknown) => {
          failed = cause;
        });
      }
      this.#isAtWork = false;
      await this.#bind();
      if (this.kube.writes.length > length) continue;
      if (failed === undefined || round === MOST_ROUNDS - 1) return failed;
    }
    throw new Error("does not settle");
  }
}

/** What is said of a volume, in short. */
export async function conditions(world: World): Promise<Record<string, string>> {
  const { status } = await world.volume();
  const found = (status?.conditions ?? []).map(({ type, status: is, reason = "" }) => [
    type,
    `${is} ${reason}`.trim(),
  ]);
  return Object.fromEntries(found) as Record<string, string>;
}

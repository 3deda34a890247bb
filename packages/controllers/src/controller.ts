import type {
  Cache,
  CacheScope,
  ControllerRevision,
  EventRecorder,
  Indices,
  KubeApi,
  KubeObject,
  PersistentVolumeClaim,
  Resource,
} from "@trine/kube-client";
import type {
  ClusterDefaults,
  DataVolume,
  VirtualMachine,
  VirtualMachineInstance,
  VirtualMachineInstanceReplicaSet,
} from "@trine/kube-types";

/** A loop that keeps the objects of one kind as their specs say. */
export interface Controller {
  readonly name: string;
  /** Until `signal` aborts; rejects where it cannot go on. */
  run(signal: AbortSignal): Promise<void>;
}

/** Caches that controllers share: each resource is listed and watched once. */
export interface ControlCaches {
  /** Indices `volume`. */
  readonly machines: Cache<VirtualMachine>;
  /** Indices `owner`. */
  readonly instances: Cache<VirtualMachineInstance>;
  readonly replicaSets: Cache<VirtualMachineInstanceReplicaSet>;
  readonly dataVolumes: Cache<DataVolume>;
  readonly claims: Cache<PersistentVolumeClaim>;
  /** Indices `owner`. */
  readonly revisions: Cache<ControllerRevision>;
}

/** Makes a cache: of the API server, or of its twin in memory. */
export type MakeCache = <T extends KubeObject>(
  resource: Resource<T>,
  indices?: Indices<T>,
  within?: CacheScope<T>,
) => Cache<T>;

/** What all controllers work with. */
export interface ControlDeps {
  readonly api: KubeApi;
  readonly caches: ControlCaches;
  readonly events: Pick<EventRecorder, "record">;
  /** Of the KubeVirt object, as it is now. */
  readonly defaults: () => ClusterDefaults;
  readonly now: () => Date;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Hears of each step that failed, and when its key comes again. */
  readonly onFailure: (controller: string, key: string, cause: unknown, retryMs: number) => void;
}

export { keyOf, placeOf } from "./object.ts";
export type { KubeObject, Place, Stored, StoredMeta } from "./object.ts";
export { apiVersionOf, resourceOf } from "./resource.ts";
export type { Resource } from "./resource.ts";
export type {
  DeleteOptions,
  KubeApi,
  KubeList,
  Selection,
  WatchEvent,
  WriteOptions,
} from "./kube-api.ts";
export { pointer } from "./json-patch.ts";
export type { JsonPatchOperation } from "./json-patch.ts";
export type { Cache, ChangeListener, Index, Indices } from "./cache.ts";
export type { Outcome, Reconcile } from "./work-queue.ts";
export { CLAIMS, CONFIG_MAPS, CONTROLLER_REVISIONS, NODES, PODS, SECRETS } from "./core-kinds.ts";
export type {
  Condition,
  ConfigMap,
  ContainerStatus,
  ControllerRevision,
  Node,
  PersistentVolumeClaim,
  Pod,
  PodSpec,
  PodStatus,
  Secret,
} from "./core-kinds.ts";

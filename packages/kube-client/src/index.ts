export { keyOf, placeOf } from "./object.ts";
export type { KubeObject, Place, Stored, StoredMeta } from "./object.ts";
export { apiVersionOf, resourceOf } from "./resource.ts";
export type { Resource } from "./resource.ts";
export type {
  DeleteOptions,
  KubeApi,
  KubeList,
  ListWatch,
  Selection,
  WatchEvent,
  WriteOptions,
} from "./kube-api.ts";
export { pointer } from "./json-patch.ts";
export type { JsonPatchOperation } from "./json-patch.ts";
export type { Cache, CacheScope, ChangeListener, Index, Indices } from "./cache.ts";
export { ListWatchCache } from "./list-watch-cache.ts";
export { WorkQueue } from "./work-queue.ts";
export type { Outcome, Reconcile } from "./work-queue.ts";
export { Leader } from "./leader.ts";
export { EventRecorder } from "./event-recorder.ts";
export type { Happening } from "./event-recorder.ts";
export { KubeClient } from "./kube-client.ts";
export type { KubeConnection, Material } from "./connection.ts";
export { readKubeconfig } from "./kubeconfig.ts";
export { inClusterConnection } from "./in-cluster.ts";
export { StatusError } from "./status-error.ts";
export type { Status, StatusCause } from "./status-error.ts";
export { CLAIMS, CONFIG_MAPS, CONTROLLER_REVISIONS, NODES, PODS, SECRETS } from "./core-kinds.ts";
export { accountUser, cloneRefusal, mayClone } from "./clone/clone-rights.ts";
export type { CloneUser } from "./clone/clone-rights.ts";
export { DATA_SOURCES, foreignSource, resolveSource, standsFor } from "./clone/clone-source.ts";
export { COPY_GRANT, grantCopy, readGrant } from "./clone/copy-grant.ts";
export { EVENTS, LEASES, SIGNING_REQUESTS } from "./control-kinds.ts";
export type {
  CertificateSigningRequest,
  KubeEvent,
  Lease,
  ObjectReference,
} from "./control-kinds.ts";
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
  Resources,
  Secret,
} from "./core-kinds.ts";

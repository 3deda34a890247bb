export { readManifest } from "./read-manifest.ts";
export { installCluster } from "./install-cluster.ts";
export { uninstallCluster } from "./uninstall-cluster.ts";
export type { ClusterApi } from "./cluster-api.ts";

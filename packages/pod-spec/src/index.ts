export { parseManifest } from "./parse-manifest.ts";
export type { Manifest, Sources } from "./parse-manifest.ts";
export type { Pod } from "./pod-schema.ts";
export type { Container } from "./container-schema.ts";
export type { NodeFacts, Resolver } from "./facts.ts";
export type { Scope } from "./environment.ts";
export { expand } from "./expand.ts";
export { environmentOf } from "./environment.ts";
export { defaultPullPolicy, planVolume } from "./volume-plan.ts";
export type { Claims, PullPolicy } from "./volume-plan.ts";
export { materialiseVolume } from "./materialise-volume.ts";
export type { VolumeHome } from "./materialise-volume.ts";
export { unmountBelow } from "./mounts.ts";
export { removeTree } from "./remove-tree.ts";
export { bindSubPath, resolveOwnSubPath } from "./sub-path.ts";
export {
  LABEL_CONTAINER,
  LABEL_NAME,
  LABEL_NAMESPACE,
  LABEL_UID,
  hostsFile,
  sandboxConfig,
} from "./translate-sandbox.ts";
export type { SandboxConfig } from "./translate-sandbox.ts";
export { containerConfig } from "./translate-container.ts";
export type { ImageFacts, ReadyMount } from "./translate-container.ts";

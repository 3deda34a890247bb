export { MACHINE_ANNOTATIONS } from "./machine-annotations.ts";
export type { MachineSettings } from "./machine-annotations.ts";
export type { DiskSetting, DiskSource } from "./disk-list.ts";
export { MICROVM_ANNOTATIONS } from "./microvm-annotations.ts";
export type { MicrovmSettings } from "./microvm-annotations.ts";
export type { AnnotationSpec, Fields } from "./value-types.ts";
export {
  checkMachineAnnotations,
  parseMachineAnnotations,
  parseMicrovmAnnotations,
  toError,
} from "./parse-annotations.ts";
export type { AnnotationProblem } from "./annotation-problem.ts";
export { ignitionProblem } from "./ignition.ts";
export { isGuestUser } from "./seed-source.ts";
export type { SeedSource } from "./seed-source.ts";
export { readSshKeys } from "./ssh-key.ts";
export { allowedText } from "./parse-value.ts";
export { hypervFeatures, hypervNeeds } from "./hyperv-needs.ts";
export { formatQuantity, parseQuantity } from "./quantity.ts";
export { VIRTLET_MEANINGS } from "./virtlet-meanings.ts";
export { UNSUPPORTED_VIRTLET } from "./virtlet.ts";
export {
  HANDLERS,
  HANDLER_MICROVM,
  HANDLER_VM,
  IMAGE_LABEL_MACHINE,
  POD_ANNOTATION_PATTERNS,
  RUNTIME_MICROVM,
  RUNTIME_VM,
} from "./runtimes.ts";

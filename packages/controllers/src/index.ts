export { inertFields } from "./vmi/inert-fields.ts";
export type { Inert } from "./vmi/inert-fields.ts";
export { guestBytes, topologyOf } from "./vmi/cpu-memory.ts";
export { keepsState } from "./vmi/firmware.ts";
export { isFilled, knownClaim } from "./vmi/known.ts";
export { podInterfaces } from "./vmi/networks.ts";
export { filledSpec, podName, stateClaimName } from "./vmi/render-pod.ts";
export { graceSeconds } from "./vmi/scheduling.ts";
export type { Heard } from "./vmi/heard.ts";

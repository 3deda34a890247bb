export { HeldChannel } from "./held-channel.ts";
export { SHIM_PROTOCOL, ShimLink } from "./shim-link.ts";
export type { RunResult } from "./shim-link.ts";
export { ShimProcessHost } from "./shim-process-host.ts";
export type { MachinePlace } from "./shim-process-host.ts";

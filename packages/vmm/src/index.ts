export type { Accelerator, DiskSpec, MachineSpec, NicSpec } from "./machine-spec.ts";
export { MACHINE_DIR } from "./process-host.ts";
export type {
  ByteChannel,
  ChannelUse,
  JailBind,
  PlannedDescriptor,
  ProcessHost,
  ProcessPlan,
} from "./process-host.ts";
export { CONSOLE_CHANNEL, GUEST_AGENT_CHANNEL, VMM_KEY } from "./machine-driver.ts";
export type {
  Machine,
  MachineDriver,
  MachineEvent,
  MachineStats,
  MachineStatus,
} from "./machine-driver.ts";

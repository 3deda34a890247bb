export { bootOf, shareDevices, slotNames, takesCpus } from "./machine-spec.ts";
export type {
  Accelerator,
  BootSpec,
  DiskSpec,
  FirmwareFile,
  KernelSpec,
  MachineSpec,
  NicModel,
  NicSpec,
  SlotImage,
  SlotName,
  SharesDevice,
  SharesSpec,
  SlotsSpec,
  Template,
} from "./machine-spec.ts";
export type {
  ClockSpec,
  FeaturePolicy,
  HardwareSpec,
  HypervSpec,
  PassthroughSpec,
  PinningSpec,
} from "./hardware-spec.ts";
export { MACHINE_DIR } from "./process-host.ts";
export type {
  ByteChannel,
  ChannelUse,
  JailBind,
  PinnedThread,
  PlannedDescriptor,
  ProcessHost,
  ProcessPlan,
} from "./process-host.ts";
export {
  CONSOLE_CHANNEL,
  GUEST_AGENT_CHANNEL,
  GUEST_LINK_CHANNEL,
  TPM_KEY,
  VMM_KEY,
} from "./machine-driver.ts";
export type {
  Machine,
  MachineDriver,
  MachineEvent,
  MachineReport,
  MachineStats,
  VcpuStats,
  MachineStatus,
} from "./machine-driver.ts";
export { MAX_STATE_BYTES, checkTemplate, identifyTemplate } from "./checked-template.ts";
export {
  MEMORY_STEP,
  checkSlotImage,
  checkSlotSize,
  checkTarget,
  growingDisk,
} from "./check-request.ts";

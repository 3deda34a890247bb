export { QemuDriver } from "./qemu-driver.ts";
export { planMachine } from "./plan-machine.ts";
export { findQemuEnvironment } from "./qemu-environment.ts";
export type { QemuEnvironment, QemuFiles } from "./qemu-environment.ts";
export { probeAccelerator } from "./probe-accelerator.ts";
export type { AcceleratorProbe, ProbeOptions } from "./probe-accelerator.ts";
export { queryQemu } from "./query-qemu.ts";
export type { QemuFacts } from "./query-qemu.ts";

export { FakeDriver } from "./fake-driver.ts";
export { FakeVmm } from "./fake-vmm.ts";
export type { FakeVmmOptions } from "./fake-vmm.ts";
export { MemoryProcessHost } from "./memory-process-host.ts";
export type { ChildEnd, MemoryProcess, MemoryProgram } from "./memory-process-host.ts";
export { lightSpec, machineSpec } from "./sample-spec.ts";
export { ByteStream, StreamEnd } from "./byte-stream.ts";

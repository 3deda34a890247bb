import { diskIOThreads } from "../kubevirt/domain.ts";
import { launchSecurity } from "../kubevirt/firmware.ts";
import { gpu, hostDevice } from "../kubevirt/host-devices.ts";
import { hugepages } from "../kubevirt/memory.ts";
import { numa, realtime } from "../kubevirt/processor.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  int64,
  integer,
  known,
  list,
  map,
  needed,
  object,
  quantity,
  string,
} from "../schema/schema.ts";

const cpuInstancetype = object({
  guest: needed(int64({ minimum: 0, maximum: 4294967295 })),
  model: string(),
  dedicatedCPUPlacement: boolean(),
  numa,
  isolateEmulatorThread: boolean(),
  realtime,
  maxSockets: int64({ minimum: 0, maximum: 4294967295 }),
});

const memoryInstancetype = object({
  guest: needed(quantity()),
  hugepages,
  overcommitPercent: integer({ minimum: 0, maximum: 100 }),
  maxGuest: quantity(),
});

const virtualMachineInstancetypeSpec = object({
  nodeSelector: map(string()),
  schedulerName: string(),
  cpu: needed(cpuInstancetype),
  memory: needed(memoryInstancetype),
  gpus: list(gpu, { merge: "atomic" }),
  hostDevices: list(hostDevice, { merge: "atomic" }),
  ioThreadsPolicy: known("shared", "auto", "supplementalPool"),
  ioThreads: diskIOThreads,
  launchSecurity,
  annotations: map(string()),
});

export const virtualMachineInstancetype = whole({ spec: needed(virtualMachineInstancetypeSpec) });
export type VirtualMachineInstancetype = Infer<typeof virtualMachineInstancetype>;

export const virtualMachineClusterInstancetype = whole({
  spec: needed(virtualMachineInstancetypeSpec),
});
export type VirtualMachineClusterInstancetype = Infer<typeof virtualMachineClusterInstancetype>;

import { clock } from "./clock.ts";
import { devices } from "./devices.ts";
import { features } from "./features.ts";
import { chassis, firmware, launchSecurity, machine } from "./firmware.ts";
import { memory, resourceRequirements } from "./memory.ts";
import { cpu } from "./processor.ts";
import { type Infer, int64, known, needed, object } from "../schema/schema.ts";

export const diskIOThreads = object({
  supplementalPoolThreadCount: int64({ minimum: 0, maximum: 4294967295 }),
});

export const domainSpec = object({
  resources: resourceRequirements,
  cpu,
  memory,
  machine,
  firmware,
  clock,
  features,
  devices: needed(devices),
  ioThreadsPolicy: known("shared", "auto", "supplementalPool"),
  ioThreads: diskIOThreads,
  chassis,
  launchSecurity,
  rebootPolicy: known("Reboot", "Terminate"),
});
export type DomainSpec = Infer<typeof domainSpec>;

import {
  type Infer,
  boolean,
  int64,
  known,
  list,
  needed,
  object,
  string,
} from "../schema/schema.ts";

export const cpuFeature = object({
  name: needed(string()),
  policy: known("force", "require", "optional", "disable", "forbid"),
});

const numaGuestMappingPassthrough = object({});

export const numa = object({ guestMappingPassthrough: numaGuestMappingPassthrough });

export const realtime = object({ mask: string() });

export const cpu = object({
  cores: int64({ minimum: 0, maximum: 4294967295 }),
  sockets: int64({ minimum: 0, maximum: 4294967295 }),
  maxSockets: int64({ minimum: 0, maximum: 4294967295 }),
  threads: int64({ minimum: 0, maximum: 4294967295 }),
  model: string(),
  features: list(cpuFeature),
  dedicatedCpuPlacement: boolean(),
  numa,
  isolateEmulatorThread: boolean(),
  realtime,
});
export type CPU = Infer<typeof cpu>;

import { type Infer, boolean, integer, known, object, string } from "../schema/schema.ts";

export const clockOffsetUTC = object({ offsetSeconds: integer() });

const hpetTimer = object({
  tickPolicy: known("delay", "catchup", "merge", "discard"),
  present: boolean(),
});

const kvmTimer = object({ present: boolean() });

const pitTimer = object({ tickPolicy: known("delay", "catchup", "discard"), present: boolean() });

const rtcTimer = object({
  tickPolicy: known("delay", "catchup"),
  present: boolean(),
  track: known("guest", "wall"),
});

const hypervTimer = object({ present: boolean() });

export const timer = object({
  hpet: hpetTimer,
  kvm: kvmTimer,
  pit: pitTimer,
  rtc: rtcTimer,
  hyperv: hypervTimer,
});

export const clock = object({ utc: clockOffsetUTC, timezone: string(), timer }, { open: true });
export type Clock = Infer<typeof clock>;

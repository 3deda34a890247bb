import * as v from "valibot";
import { badRequest } from "../refusals/refusal.ts";

const dryRun = v.nullish(v.array(v.string()));
const seconds = v.nullish(v.pipe(v.number(), v.safeInteger()));
const flag = v.nullish(v.boolean());
const text = v.nullish(v.string());

export const startOptions = v.object({ paused: flag, dryRun });
export const stopOptions = v.object({ gracePeriod: seconds, dryRun });
export const restartOptions = v.object({ gracePeriodSeconds: seconds, dryRun });
export const migrateOptions = v.object({
  dryRun,
  addedNodeSelector: v.nullish(v.record(v.string(), v.string())),
});
/** Of pause and unpause. */
export const pauseOptions = v.object({ dryRun });
export const freezeOptions = v.object({ unfreezeTimeout: text });
export const evacuateCancelOptions = v.object({ dryRun, evacuationNodeName: text });
export const memoryDumpRequest = v.object({ claimName: text });
export const removeVolumeOptions = v.object({ name: text, dryRun });

/** Whether nothing is to be written. Kubernetes knows one value only. */
export function isDryRun(values: readonly string[] | null | undefined): boolean {
  for (const value of values ?? []) {
    if (value !== "All") {
      throw badRequest(`Unsupported value: "${value.slice(0, 80)}": supported values: "All"`, [
        {
          reason: "FieldValueNotSupported",
          message: 'supported values: "All"',
          field: "dryRun",
        },
      ]);
    }
  }
  return (values ?? []).length > 0;
}

const UNIT_MS = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 } as const;
const PART = /(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)/y;

/** A duration as Go writes it (`1h30m`, `30s`, `0`), in milliseconds; undefined where it is none or negative. */
export function parseDurationMs(duration: string): number | undefined {
  if (duration === "0") return 0;
  let ms = 0;
  let at = 0;
  while (at < duration.length) {
    PART.lastIndex = at;
    const [all = "", number = "", unit] = PART.exec(duration) ?? [];
    if (all === "") return undefined;
    ms += Number(number) * UNIT_MS[unit as keyof typeof UNIT_MS];
    at += all.length;
  }
  return duration === "" ? undefined : ms;
}

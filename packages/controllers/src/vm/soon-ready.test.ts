import { expect, test } from "vitest";
import { instanceIn, machine, NOW } from "./testing/samples.ts";
import { soonReadyMs } from "./soon-ready.ts";

const LEAVING = { deletionTimestamp: "2026-01-02T03:59:59Z" };

interface Case {
  readonly phase?: string;
  readonly came?: string;
  readonly reason?: string;
  readonly shown?: string;
  readonly vm?: object;
  readonly vmi?: object;
  readonly laterMs?: number;
}

test.each<[string, Case, number]>([
  ["has just come to run", {}, 1_000],
  ["came to run in this second", { came: "2026-01-02T04:00:00Z" }, 2_000],
  ["has waited long enough", { laterMs: 1_000 }, 0],
  ["has waited nearly long enough", { laterMs: 999 }, 1],
  ["came to run later than now", { came: "2026-01-02T04:00:01Z" }, 0],
  ["came to run nobody knows when", { came: "soon" }, 0],
  ["does not run yet", { phase: "Scheduled" }, 0],
  ["has ended", { phase: "Failed" }, 0],
  ["whose pod ends", { reason: "PodTerminating" }, 0],
  ["whose probe fails", { reason: "ContainersNotReady" }, 0],
  ["is told to run already", { shown: "Running" }, 0],
  ["goes", { vm: LEAVING }, 0],
  ["whose instance goes", { vmi: LEAVING }, 0],
])("how long a machine may go untold that %s", (_, of, wanted) => {
  const { phase = "Running", reason = "PodConditionMissing", shown = "Starting" } = of;
  const vm = machine(undefined, {
    status: { printableStatus: shown },
    metadata: of.vm ?? {},
  });
  const stamp = { phase: "Running", phaseTransitionTimestamp: of.came ?? "2026-01-02T03:59:59Z" };
  const status = {
    phase: phase as "Running",
    conditions: [{ type: "Ready", status: "False", reason }],
    phaseTransitionTimestamps: [stamp],
  };
  const now = new Date(NOW.getTime() + (of.laterMs ?? 0));
  expect(soonReadyMs({ vm, vmi: instanceIn(status, of.vmi), now })).toBe(wanted);
  expect(soonReadyMs({ vm, vmi: undefined, now })).toBe(0);
});

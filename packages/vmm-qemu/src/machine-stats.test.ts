import { expect, test } from "vitest";
import { toMachineEvent, toMachineStatus } from "./machine-events.ts";
import { readWait, toMemory } from "./machine-stats.ts";

const GIB = 1024 ** 3;
const UNKNOWN = 2 ** 64; // -1 as an unsigned number, rounded

test("a guest's memory as it says it", () => {
  const stats = {
    ...{ "stat-free-memory": 10, "stat-available-memory": 20, "stat-disk-caches": 5 },
    ...{ "stat-major-faults": 1, "stat-minor-faults": 2, "stat-swap-in": 0 },
  };
  expect(toMemory({ "last-update": 1_700_000_000, stats }, GIB)).toEqual({
    ...{ totalBytes: GIB, freeBytes: 10, availableBytes: 20, diskCacheBytes: 5 },
    ...{ majorFaults: 1, minorFaults: 2, swappedInBytes: 0 },
  });
});

test.each([
  ["never said", { "last-update": 0, stats: { "stat-free-memory": 10 } }],
  ["more than it has", { "last-update": 1, stats: { "stat-free-memory": 2 * GIB } }],
  ["not known", { "last-update": 1, stats: { "stat-free-memory": UNKNOWN } }],
  ["no number", { "last-update": 1, stats: { "stat-free-memory": "10" } }],
  ["nonsense", 7],
  ["nothing", undefined],
])("memory that is %s is left out", (_, answer) => {
  expect(toMemory(answer, GIB)).toEqual({ totalBytes: GIB });
});

test.each([
  ["now", "policy : 0\nwait_sum                                     :         12345.678901\n"],
  ["before 5.18", "se.statistics.wait_sum                       :         12345.678901\nx : 1"],
])("what a vCPU has waited, as kernels write it %s", (_, sched) => {
  expect(readWait(sched)).toBe(12_345_678_901n);
});

test.each([
  ["a kernel that keeps no statistics", "se.exec_start : 27385135.833082\npolicy : 0\n"],
  ["a number of another kind", "wait_sum : 12\n"],
  ["a thread that has ended", ""],
])("of %s it is not known", (_, sched) => {
  expect(readWait(sched)).toBeUndefined();
});

const at = new Date(0);

test.each([
  ["STOP", {}, { at, what: "paused" }],
  ["SHUTDOWN", { reason: "guest-panic" }, { at, what: "shutdown", detail: "guest-panic" }],
  ["BLOCK_IO_ERROR", { "node-name": "n", reason: "r" }, { at, what: "io-error", detail: "n: r" }],
  [
    "BLOCK_IO_ERROR",
    { "node-name": "disk-data", reason: "No space left on device" },
    { at, what: "io-error", detail: "data: No space left on device" },
  ],
  ["VSERPORT_CHANGE", { id: "guest-agent0", open: true }, { at, what: "agent-up" }],
  ["VSERPORT_CHANGE", { id: "guest-agent0", open: false }, { at, what: "agent-down" }],
  ["VSERPORT_CHANGE", { id: "other", open: true }, undefined],
  ["RTC_CHANGE", {}, undefined],
])("event %s %j", (name, data, expected) => {
  expect(toMachineEvent({ name, data, at })).toEqual(expected);
});

test.each([
  ["running", "running"],
  ["paused", "paused"],
  ["suspended", "paused"],
  ["prelaunch", "starting"],
  ["shutdown", "off"],
  ["guest-panicked", "crashed"],
  ["internal-error", "crashed"],
  ["io-error", "io-error"],
  ["watchdog", "watchdog"],
])("run state %s is %s", (state, status) => {
  expect(toMachineStatus(state)).toBe(status);
});

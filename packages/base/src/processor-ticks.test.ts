import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { processorTicks } from "./processor-ticks.ts";

const REST = "S 1 2 3 4 5 6 7 8 9 10 1234 56 0 0 20 0 1 0";

test.each([
  [`12 (qemu) ${REST}`, { user: 1234, system: 56 }],
  [`12 (a) b) S 1 (x) ${REST}`, { user: 1234, system: 56 }],
  ["", undefined],
  ["12 (qemu) S 1 2", undefined],
  [`12 (qemu) ${REST.replace("56", "-")}`, undefined],
])("of %j it is %j", (stat, ticks) => {
  expect(processorTicks(stat)).toEqual(ticks);
});

test("this process has used some", () => {
  expect(processorTicks(readFileSync("/proc/self/stat", "utf8"))?.user).toBeGreaterThan(0);
});

import { expect, test } from "vitest";
import { formatQuantity, parseQuantity } from "./quantity.ts";

test.each([
  ["100m", 100n],
  ["1.0001", 1001n],
  ["2", 2000n],
  ["-1500m", -1500n],
  ["1Ki", 1_024_000n],
])("reads %s in thousandths, rounded up", (text, thousandths) => {
  expect(parseQuantity(text, 1000n)).toBe(thousandths);
});

test.each([
  ["0", 0n],
  ["1", 1n],
  ["+5", 5n],
  ["-5", -5n],
  ["1Ki", 1024n],
  ["1.5Gi", 1610612736n],
  [".5Mi", 524288n],
  ["5.Ki", 5120n],
  ["2G", 2_000_000_000n],
  ["1k", 1000n],
  ["1e3", 1000n],
  ["1E3", 1000n],
  ["1E", 10n ** 18n],
  ["12e-1", 2n],
  ["100m", 1n],
  ["1500m", 2n],
  ["1n", 1n],
  ["-1500m", -2n],
  ["0.1Ki", 103n],
  ["15Ei", 15n * 2n ** 60n],
  ["9007199254740993", 9007199254740993n],
])("reads %s exactly, rounded up", (text, units) => {
  expect(parseQuantity(text)).toBe(units);
});

test.each([
  "",
  " 1",
  "1 ",
  "1 Gi",
  "Gi",
  ".",
  "+",
  "1gi",
  "1KB",
  "1K",
  "0x10",
  "1e",
  "1e99999",
  "1e3Ki",
  "1,5Gi",
  "١",
  "1".repeat(65),
])("refuses %j", (text) => {
  expect(parseQuantity(text)).toBeUndefined();
});

test("says quantities with the largest suffix that fits", () => {
  expect([0n, 1000n, 1024n, 3n << 30n].map(formatQuantity)).toEqual(["0", "1000", "1Ki", "3Gi"]);
});

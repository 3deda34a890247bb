import { expect, test } from "vitest";
import { formatCpuList, parseCpuList } from "./cpu-list.ts";

test.each([
  ["", []],
  ["0", [0]],
  ["0-3,8", [0, 1, 2, 3, 8]],
  ["8,0-1,1-2", [0, 1, 2, 8]],
  ["10-11\n", [10, 11]],
])("the list %j", (list, cpus) => {
  expect(parseCpuList(list)).toEqual(cpus);
  expect(parseCpuList(formatCpuList(cpus))).toEqual(cpus);
});

test("neighbours are written as a range", () => {
  expect(formatCpuList([3, 0, 1, 7, 2])).toBe("0-3,7");
});

test.each(["x", "5-4", "1-", "0-99999", "8192", "-1", "1-2-3", "0 1"])("%j is no list", (list) => {
  expect(() => parseCpuList(list)).toThrow(/is no list of CPUs/);
});

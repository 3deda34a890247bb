import { expect, test } from "vitest";
import { ToldFailures } from "./told-failures.ts";

const at = (ms: number): Date => new Date(1_000_000 + ms);

test.each([
  [1, 100],
  [2, 200],
  [5, 1_600],
  [10, 51_200],
  [11, 60_000],
  [2_000, 60_000],
])("after %i failures in other words the next try waits %i ms", (failures, waitMs) => {
  const told = new ToldFailures();
  for (let each = 1; each <= failures; each += 1) told.told("a/b", String(each), at(0));
  const state = String(failures);
  expect(told.leftMs("a/b", state, at(0))).toBe(waitMs);
  expect(told.leftMs("a/b", state, at(waitMs - 1))).toBe(1);
  expect(told.leftMs("a/b", state, at(waitMs))).toBe(0);
  expect(told.leftMs("a/b", state, at(-3_600_000))).toBe(60_000);
});

test("any other change is looked at at once, and what has gone well counts no more", () => {
  const told = new ToldFailures();
  expect(told.leftMs("a/b", "1", at(0))).toBe(0);
  told.told("a/b", "1", at(0));
  told.told("a/b", "2", at(0));
  expect(told.leftMs("a/b", "1", at(0))).toBe(0);
  expect(told.leftMs("a/c", "2", at(0))).toBe(0);
  told.forget("a/b");
  expect(told.leftMs("a/b", "2", at(0))).toBe(0);
  told.told("a/b", "3", at(0));
  expect(told.leftMs("a/b", "3", at(0))).toBe(100);
});

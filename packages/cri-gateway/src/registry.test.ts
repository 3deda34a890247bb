import { expect, test } from "vitest";
import { LIST_MS, Registry } from "./registry.ts";

test("a list that passes is read once at a time, and anew where its client takes too long for it", () => {
  const registry = new Registry();
  const slow = registry.startReading("k", 0);
  expect(slow).toBeDefined();
  expect(registry.startReading("k", LIST_MS - 1)).toBeUndefined();
  expect(registry.startReading("other", 1)).toBeDefined();
  const next = registry.startReading("k", LIST_MS);
  expect(next).toBeDefined();
  // The end of the one before does not end its own.
  if (slow !== undefined) registry.endReading("k", slow);
  expect(registry.startReading("k", LIST_MS + 1)).toBeUndefined();
  if (next !== undefined) registry.endReading("k", next);
  expect(registry.startReading("k", LIST_MS + 1)).toBeDefined();
});

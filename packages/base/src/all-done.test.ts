import { expect, test } from "vitest";
import { allDone } from "./all-done.ts";

test("a failure is told when the rest has ended", async () => {
  const slow = Promise.withResolvers<undefined>();
  let told = false;
  const all = allDone([Promise.reject(new Error("first")), slow.promise]).finally(() => {
    told = true;
  });
  const seen = expect(all).rejects.toThrow("first");
  await new Promise(setImmediate);
  expect(told).toBe(false);
  slow.resolve(undefined);
  await seen;
});

test("of several failures the first in order is told, and success is nothing", async () => {
  const late = Promise.withResolvers<undefined>();
  const all = allDone([late.promise, Promise.reject(new Error("second"))]);
  late.reject(new Error("first"));
  await expect(all).rejects.toThrow("first");
  await expect(allDone([Promise.resolve(1), Promise.resolve(2)])).resolves.toBeUndefined();
});

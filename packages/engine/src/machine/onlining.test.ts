import { expect, test } from "vitest";
import { firstToAnswer } from "./onlining.ts";

test("who did not answer is not asked again, and nobody is there in the end", async () => {
  const asked: string[] = [];
  let isLeft = true;
  const online = firstToAnswer([
    () => Promise.resolve(asked.push("silent")).then(() => undefined),
    (cpus) => Promise.resolve(asked.push("there")).then(() => (isLeft ? cpus : undefined)),
  ]);
  expect([await online(3), await online(3)]).toEqual([3, 3]);
  expect(asked).toEqual(["silent", "there", "there"]);
  isLeft = false;
  expect([await online(3), await online(3)]).toEqual([undefined, undefined]);
  expect(asked).toEqual(["silent", "there", "there", "there"]);
});

import { expect, test } from "vitest";
import { Turns } from "./turns.ts";

test("no more than so many are at work; each end, also a failure, lets the next begin", async () => {
  const turns = new Turns(2);
  const { signal } = new AbortController();
  const begun: number[] = [];
  const ends = [0, 1, 2, 3].map(() => Promise.withResolvers<undefined>());
  const works = ends.map(({ promise }, nth) =>
    turns.take(signal, () => {
      begun.push(nth);
      return promise;
    }),
  );
  expect(begun).toEqual([0, 1]);
  ends[1]?.reject(new Error("x"));
  await expect(works[1]).rejects.toThrow("x");
  ends[0]?.resolve(undefined);
  await works[0];
  for (const { resolve } of ends) resolve(undefined);
  await Promise.all([works[2], works[3]]);
  expect(begun).toEqual([0, 1, 2, 3]);
});

test("what is not wanted any more gives its turn away", async () => {
  const turns = new Turns(1);
  const reason = new Error("stopped");
  const never = (): Promise<never> => expect.fail("it was to be left out");
  await expect(turns.take(AbortSignal.abort(reason), never)).rejects.toBe(reason);
  expect(await turns.take(new AbortController().signal, () => Promise.resolve(1))).toBe(1);
});

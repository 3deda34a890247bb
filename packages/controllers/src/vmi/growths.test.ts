import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { Growths } from "./growths.ts";

const KEY = "shop/web";
const MORE = { cpus: 2, memoryBytes: 2 ** 31 };
const DEAF = new TrineError("timeout", "the guest does not follow");

const growths = (): Growths => new Growths(() => new Date(0));

/** One try, to its end. */
async function tried(all: Growths, cause?: TrineError, to = MORE): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  all.begin(KEY, "u1", to, promise);
  if (cause === undefined) resolve(undefined);
  else reject(cause);
  await new Promise((done) => setImmediate(done));
  const attempt = all.of(KEY, "u1", to);
  return attempt?.state === "failed" ? attempt.retryAt : undefined;
}

test("a guest that cannot follow is tried less and less often, until it does or another size is wanted", async () => {
  const all = growths();
  const waits = [];
  for (let time = 0; time < 7; time += 1) waits.push(await tried(all, DEAF));
  expect(waits).toEqual([30, 60, 120, 240, 480, 600, 600].map((seconds) => seconds * 1_000));
  expect(await tried(all, DEAF, { ...MORE, cpus: 3 })).toBe(30_000);
  await tried(all, DEAF, { ...MORE, cpus: 3 });
  expect(await tried(all, undefined, { ...MORE, cpus: 3 })).toBeUndefined();
  expect(await tried(all, DEAF, { ...MORE, cpus: 3 })).toBe(30_000);
});

test.each(["wrongState", "unavailable"] as const)(
  "what costs its machine nothing (%s) is tried as often as before",
  async (kind) => {
    const all = growths();
    for (let time = 0; time < 3; time += 1) {
      expect(await tried(all, new TrineError(kind, "no"))).toBe(30_000);
    }
  },
);

test("while it is tried again, what stood against it does", async () => {
  const all = growths();
  await tried(all, DEAF);
  const { message } = DEAF;
  all.begin(KEY, "u1", MORE, new Promise(() => undefined));
  expect(all.of(KEY, "u1", MORE)).toEqual({
    state: "asked",
    failed: { reason: "GuestNotFollowing", message },
  });
  // Of the same instance nothing else is tried beside it.
  expect(all.of(KEY, "u1", { ...MORE, cpus: 3 })).toEqual({ state: "asked" });
});

test("a try that ends after its instance is gone says nothing of the next one", async () => {
  const all = growths();
  const first = Promise.withResolvers<undefined>();
  all.begin(KEY, "u1", MORE, first.promise);
  expect(all.of(KEY, "u2", MORE)).toBeUndefined();
  all.begin(KEY, "u1", MORE, first.promise);
  all.forget(KEY);
  first.reject(new TrineError("notFound", "no such pod"));
  await new Promise((done) => setImmediate(done));
  expect(all.of(KEY, "u1", MORE)).toBeUndefined();

  const old = Promise.withResolvers<undefined>();
  all.begin(KEY, "u1", MORE, old.promise);
  all.begin(KEY, "u2", MORE, new Promise(() => undefined));
  old.resolve(undefined);
  await new Promise((done) => setImmediate(done));
  expect(all.of(KEY, "u2", MORE)).toEqual({ state: "asked" });
});

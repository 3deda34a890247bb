import { expect, test } from "vitest";
import { type Reconcile, WorkQueue } from "./work-queue.ts";

const BACKOFF = { baseMs: 1, capMs: 4 };

function queueWith(reconcile: Reconcile, workers = 2) {
  const failures: string[] = [];
  const queue = new WorkQueue({
    backoff: BACKOFF,
    onFailure: (key, cause) => failures.push(`${key}: ${String(cause)}`),
  });
  const end = new AbortController();
  const run = queue.run(workers, reconcile, end.signal);
  const stop = async (): Promise<void> => {
    end.abort();
    await run;
  };
  return { queue, failures, stop };
}

test("a key is at work once, and comes again when it was added meanwhile", async () => {
  let atWork = 0;
  let most = 0;
  let rounds = 0;
  const gate = Promise.withResolvers<undefined>();
  const twice = Promise.withResolvers<undefined>();
  const { queue, stop } = queueWith(async () => {
    atWork += 1;
    most = Math.max(most, atWork);
    await gate.promise;
    atWork -= 1;
    rounds += 1;
    if (rounds === 2) twice.resolve(undefined);
    return "settled";
  });
  queue.add("a");
  await Promise.resolve();
  await Promise.resolve();
  for (let n = 0; n < 5; n += 1) queue.add("a");
  gate.resolve(undefined);
  await twice.promise;
  await stop();
  expect({ most, rounds }).toEqual({ most: 1, rounds: 2 });
});

test("what fails comes again until it does not, and each failure is told", async () => {
  let tries = 0;
  const done = Promise.withResolvers<undefined>();
  const { queue, failures, stop } = queueWith(() => {
    tries += 1;
    if (tries < 4) return Promise.reject(new Error(`no ${tries}`));
    done.resolve(undefined);
    return Promise.resolve("settled" as const);
  });
  queue.add("a");
  await done.promise;
  await stop();
  expect(failures).toEqual(["a: Error: no 1", "a: Error: no 2", "a: Error: no 3"]);
});

test("a key that is to come later comes once, at the earliest of its times", async () => {
  const seen: string[] = [];
  const done = Promise.withResolvers<undefined>();
  const { queue, stop } = queueWith((key) => {
    seen.push(key);
    if (key === "end") done.resolve(undefined);
    return Promise.resolve("settled" as const);
  }, 1);
  queue.addAfter("a", 3_600_000);
  queue.addAfter("a", 0);
  queue.addAfter("a", 3_600_000);
  queue.addAfter("gone", 3_600_000);
  queue.forget("gone");
  expect(queue.size.later).toBe(1);
  queue.addAfter("end", 20);
  await done.promise;
  await stop();
  expect(seen).toEqual(["a", "end"]);
  expect(queue.size).toEqual({ waiting: 0, atWork: 0, later: 0 });
});

test("an end waits for what is at work, and begins nothing more", async () => {
  const begun = Promise.withResolvers<undefined>();
  const gate = Promise.withResolvers<undefined>();
  const seen: string[] = [];
  const { queue, failures, stop } = queueWith(async (key, signal) => {
    seen.push(key);
    begun.resolve(undefined);
    await gate.promise;
    signal.throwIfAborted();
    return "settled";
  }, 1);
  queue.add("a");
  queue.add("b");
  await begun.promise;
  const stopped = stop().then(() => "stopped");
  expect(await Promise.race([stopped, Promise.resolve("at work")])).toBe("at work");
  gate.resolve(undefined);
  expect(await stopped).toBe("stopped");
  expect({ seen, failures }).toEqual({ seen: ["a"], failures: [] });
});

test("what is to come again later does", async () => {
  let rounds = 0;
  const done = Promise.withResolvers<undefined>();
  const { queue, stop } = queueWith(() => {
    rounds += 1;
    if (rounds === 3) done.resolve(undefined);
    return Promise.resolve(rounds < 3 ? { afterMs: 1 } : ("settled" as const));
  });
  queue.add("a");
  await done.promise;
  await stop();
  expect(rounds).toBe(3);
});

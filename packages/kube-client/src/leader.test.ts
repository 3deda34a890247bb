import { TrineError, withDeadline } from "@trine/base";
import { expect, test, vi } from "vitest";
import { LEASES } from "./control-kinds.ts";
import { Leader } from "./leader.ts";
import { MemoryKube } from "./testing/memory-kube.ts";

// A machine that does much else is slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

const PLACE = { namespace: "a", name: "trine-control" };
/** Never lost by a slow machine. */
const PATIENT = { leaseMs: 600_000, renewDeadlineMs: 500_000, retryMs: 20 };
const HASTY = { leaseMs: 1_500, renewDeadlineMs: 400, retryMs: 20 };

function contender(kube: MemoryKube, identity: string, times = PATIENT) {
  const problems: unknown[] = [];
  const options = {
    ...PLACE,
    identity,
    ...times,
    onProblem: (cause: unknown) => problems.push(cause),
  };
  const leader = new Leader(kube, options);
  const end = new AbortController();
  const began = Promise.withResolvers<undefined>();
  const lost = Promise.withResolvers<string>();
  const ran = leader.run(end.signal, async (signal) => {
    began.resolve(undefined);
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => {
        resolve();
      });
    });
    lost.resolve((signal.reason as Error).message);
  });
  const stop = async (): Promise<void> => {
    end.abort();
    await ran;
  };
  return { leader, problems, stop, began: began.promise, lost: lost.promise };
}

const within = <T>(what: string, work: Promise<T>): Promise<T> => withDeadline(what, 60_000, work);

test("one leads, and the next when it is over", async () => {
  const kube = new MemoryKube();
  const a = contender(kube, "a");
  await within("a leads", a.began);
  const b = contender(kube, "b");
  expect([a.leader.isLeading, b.leader.isLeading]).toEqual([true, false]);
  await a.stop();
  await within("b leads", b.began);
  const { spec } = await kube.get(LEASES, PLACE);
  expect(spec).toMatchObject({
    holderIdentity: "b",
    leaseDurationSeconds: 600,
    leaseTransitions: 1,
  });
  await b.stop();
  expect((await kube.get(LEASES, PLACE)).spec?.holderIdentity).toBe("");
});

test("a leader that cannot renew is told to stop before its lease is over", async () => {
  const kube = new MemoryKube();
  kube.hooks.before = ({ verb }) => {
    if (verb === "update") throw new TrineError("unavailable", "away");
  };
  const a = contender(kube, "a", HASTY);
  expect(await within("a is lost", a.lost)).toBe("leader: the lease could not be renewed");
  expect((await kube.get(LEASES, PLACE)).spec?.holderIdentity).toBe("a");
  await a.stop();
});

test("a leader that finds another one in its place stops", async () => {
  const kube = new MemoryKube();
  const a = contender(kube, "a");
  await within("a leads", a.began);
  await kube.patch(LEASES, PLACE, [
    { op: "replace", path: "/spec/holderIdentity", value: "thief" },
    { op: "replace", path: "/spec/leaseDurationSeconds", value: 3600 },
  ]);
  expect(await within("a is lost", a.lost)).toBe("leader: thief has the lease");
  await a.stop();
});

test("the clock of the holder counts for nothing: a lease is over when it was seen unchanged for its time", async () => {
  const kube = new MemoryKube();
  const times = {
    acquireTime: "2001-01-01T00:00:00.000000Z",
    renewTime: "2001-01-01T00:00:00.000000Z",
  };
  const spec = { ...times, holderIdentity: "dead", leaseDurationSeconds: 1, leaseTransitions: 7 };
  await kube.create(LEASES, { metadata: PLACE, spec });
  const before = performance.now();
  const a = contender(kube, "a");
  await within("a leads", a.began);
  expect(performance.now() - before).toBeGreaterThan(999);
  expect((await kube.get(LEASES, PLACE)).spec?.leaseTransitions).toBe(8);
  await a.stop();
});

test("a lead that fails ends the run with its failure", async () => {
  const leader = new Leader(new MemoryKube(), {
    ...PLACE,
    identity: "a",
    onProblem: () => undefined,
  });
  const failing = (): Promise<void> => Promise.reject(new Error("broken"));
  await expect(leader.run(AbortSignal.timeout(60_000), failing)).rejects.toThrow("broken");
  const ending = (): Promise<void> => Promise.resolve();
  await expect(leader.run(AbortSignal.timeout(60_000), ending)).rejects.toThrow("ended by itself");
});

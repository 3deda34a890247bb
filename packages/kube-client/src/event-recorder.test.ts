import { TrineError, pollUntil } from "@trine/base";
import { expect, test, vi } from "vitest";
import { EVENTS } from "./control-kinds.ts";
import { PODS } from "./core-kinds.ts";
import { EventRecorder } from "./event-recorder.ts";
import { MemoryKube } from "./testing/memory-kube.ts";

// A machine that does much else is slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

async function recorder() {
  const kube = new MemoryKube();
  const problems: unknown[] = [];
  const pod = await kube.create(PODS, {
    metadata: { namespace: "a", name: "p" },
    spec: { containers: [] },
  });
  const events = new EventRecorder(kube, {
    component: "trine-control",
    instance: "one",
    onProblem: (cause) => problems.push(cause),
  });
  const end = new AbortController();
  const ran = events.run(end.signal);
  const stop = async (): Promise<void> => {
    end.abort();
    await ran;
  };
  const counts = async (): Promise<string[]> => {
    const { items } = await kube.list(EVENTS, {});
    return items.map(({ reason, count }) => `${reason} ${count}`);
  };
  const until = (what: string, wanted: readonly string[]): Promise<unknown> =>
    pollUntil(what, { ms: 60_000, everyMs: 5 }, async () =>
      (await counts()).join() === wanted.join() ? true : undefined,
    );
  return { kube, pod, events, problems, stop, until };
}

const MADE = { type: "Normal", reason: "Made", message: "made the pod" } as const;
const BAD = { type: "Warning", reason: "Bad", message: "no image; give one" } as const;

test("the same event is counted up, another one is its own", async () => {
  const { kube, pod, events, problems, stop, until } = await recorder();
  events.record(pod, MADE);
  await until("one event", ["Made 1"]);
  events.record(pod, MADE);
  events.record(pod, BAD);
  await until("two events", ["Made 2", "Bad 1"]);
  const { items } = await kube.list(EVENTS, { namespace: "a" });
  expect(items[1]).toMatchObject({
    ...BAD,
    involvedObject: { kind: "Pod", namespace: "a", name: "p", uid: pod.metadata.uid },
    source: { component: "trine-control" },
  });
  expect(problems).toEqual([]);
  await stop();
});

test("one that the server has thrown away is made again", async () => {
  const { kube, pod, events, stop, until } = await recorder();
  events.record(pod, MADE);
  await until("one event", ["Made 1"]);
  const [first] = (await kube.list(EVENTS, {})).items;
  await kube.delete(EVENTS, { namespace: "a", name: first?.metadata.name ?? "" });
  events.record(pod, MADE);
  await until("it is there again", ["Made 2"]);
  await stop();
});

test("one object cannot flood the server", async () => {
  const { pod, events, stop, until, kube } = await recorder();
  for (let n = 0; n < 100; n += 1) events.record(pod, { ...BAD, message: `${n}` });
  events.record({ ...pod, metadata: { ...pod.metadata, uid: "other" } }, MADE);
  await until("what may be", [...Array<string>(25).fill("Bad 1"), "Made 1"]);
  expect((await kube.list(EVENTS, {})).items).toHaveLength(26);
  await stop();
});

test("what cannot be written is told, not tried for ever", async () => {
  const { kube, pod, events, problems, stop } = await recorder();
  kube.hooks.before = () => {
    throw new TrineError("forbidden", "namespace is being deleted");
  };
  events.record(pod, MADE);
  await pollUntil("it is told", { ms: 60_000, everyMs: 5 }, () => problems.length > 0 || undefined);
  expect(problems).toHaveLength(1);
  await stop();
});

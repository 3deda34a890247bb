// kube-client on the real API server: what is written, refused and seen, also when the server goes away.
import { kindOf, pollUntil, withDeadline } from "@trine/base";
import {
  CONFIG_MAPS,
  EVENTS,
  EventRecorder,
  LEASES,
  Leader,
  ListWatchCache,
  StatusError,
  resourceOf,
} from "@trine/kube-client";
import { VIRTUAL_MACHINE } from "@trine/kube-types";
import { expect, test } from "vitest";
import type { ControlUnderTest } from "./control-under-test.ts";

const NAMESPACE = "default";
const LONG_MS = 60_000;

const kindOfFailure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (cause: unknown) => kindOf(cause),
  );

export function clientTests(control: () => ControlUnderTest): void {
  test("writes have kinds of failure, and preconditions hold", async () => {
    const { client } = control();
    const at = { namespace: NAMESPACE, name: "kinds" };
    const made = await client.create(CONFIG_MAPS, { metadata: at, data: { a: "1" } });
    expect(made).toMatchObject({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "kinds" },
    });
    expect(made.metadata).not.toHaveProperty("managedFields");
    expect(await kindOfFailure(client.create(CONFIG_MAPS, { metadata: at }))).toBe("alreadyExists");
    const next = await client.update(CONFIG_MAPS, { ...made, data: { a: "2" } });
    expect(await kindOfFailure(client.update(CONFIG_MAPS, { ...made, data: {} }))).toBe("conflict");
    const patch = (value: string, then: string): Promise<unknown> =>
      client.patch(CONFIG_MAPS, at, [
        { op: "test", path: "/data/a", value },
        { op: "replace", path: "/data/a", value: then },
      ]);
    expect(await kindOfFailure(patch("1", "3"))).toBe("conflict");
    expect(await kindOfFailure(patch("2", "3"))).toBe("done");
    const dry = await client.update(CONFIG_MAPS, { metadata: at }, { dryRun: true });
    expect(dry.data).toBeUndefined();
    expect((await client.get(CONFIG_MAPS, at)).data).toEqual({ a: "3" });
    const { uid, resourceVersion } = next.metadata;
    const remove = (options: object): Promise<string> =>
      kindOfFailure(client.delete(CONFIG_MAPS, at, options));
    expect(await remove({ uid: "another" })).toBe("conflict");
    expect(await remove({ uid, resourceVersion })).toBe("conflict");
    expect(await remove({ uid })).toBe("done");
    expect(await remove({ uid })).toBe("notFound");
  });

  test("an object that is refused says which fields are wrong", async () => {
    const { client } = control();
    const machines = resourceOf(VIRTUAL_MACHINE);
    const wrong = { metadata: { namespace: NAMESPACE, name: "wrong" }, spec: { template: [] } };
    const failed = await client.create(machines, wrong as never).catch((cause: unknown) => cause);
    expect(failed).toBeInstanceOf(StatusError);
    const { kind, status } = failed as StatusError;
    expect([kind, status.code]).toEqual(["invalid", 422]);
    expect(status.causes.map(({ field }) => field)).toContain("spec.template");
  });

  test("a list of many pages has them all", async () => {
    const { client } = control();
    const names = Array.from({ length: 260 }, (_, n) => `page-${n}`);
    const labels = { pages: "true" };
    for (let at = 0; at < names.length; at += 20) {
      const some = names.slice(at, at + 20);
      await Promise.all(
        some.map((name) =>
          client.create(CONFIG_MAPS, { metadata: { namespace: NAMESPACE, name, labels } }),
        ),
      );
    }
    const { items } = await client.list(CONFIG_MAPS, {
      namespace: NAMESPACE,
      labelSelector: "pages=true",
    });
    expect(items.map(({ metadata }) => metadata.name).sort()).toEqual([...names].sort());
  });

  test("the same event is counted up, and kubectl shows it", async () => {
    const { client, plane } = control();
    const object = await client.create(CONFIG_MAPS, {
      metadata: { namespace: NAMESPACE, name: "happened" },
    });
    const problems: unknown[] = [];
    const recorder = new EventRecorder(client, {
      component: "trine-control",
      instance: "test",
      onProblem: (cause) => problems.push(cause),
    });
    const end = new AbortController();
    const ran = recorder.run(end.signal);
    const count = async (): Promise<number | undefined> => {
      const fieldSelector = "involvedObject.name=happened";
      const { items } = await client.list(EVENTS, { namespace: NAMESPACE, fieldSelector });
      return items[0]?.count;
    };
    for (const wanted of [1, 2]) {
      recorder.record(object, { type: "Warning", reason: "Tested", message: "it was tested" });
      await pollUntil(`count ${wanted}`, { ms: LONG_MS }, async () =>
        (await count()) === wanted ? true : undefined,
      );
    }
    end.abort();
    await ran;
    expect(problems).toEqual([]);
    const shown = await plane.kubectl.run("get", "events", "--no-headers");
    expect(shown).toMatch(/Warning\s+Tested\s+configmap\/happened\s+it was tested/);
  });

  test("one of two leads, and the other when the first gives it back", async () => {
    const { client } = control();
    const led: string[] = [];
    const problems: unknown[] = [];
    const contend = (identity: string) => {
      const began = Promise.withResolvers<undefined>();
      const end = new AbortController();
      const lease = { namespace: NAMESPACE, name: "lead", identity, retryMs: 200 };
      const leader = new Leader(client, { ...lease, onProblem: (cause) => problems.push(cause) });
      const ran = leader.run(end.signal, async (signal) => {
        led.push(identity);
        began.resolve(undefined);
        await new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => {
            resolve();
          });
        });
      });
      const stop = async (): Promise<void> => {
        end.abort();
        await ran;
      };
      return { began: began.promise, stop };
    };
    const first = contend("first");
    await withDeadline("first leads", LONG_MS, first.began);
    const second = contend("second");
    await first.stop();
    await withDeadline("second leads", LONG_MS, second.began);
    await second.stop();
    expect({ led, problems }).toEqual({ led: ["first", "second"], problems: [] });
    const lease = await client.get(LEASES, { namespace: NAMESPACE, name: "lead" });
    expect(lease.spec).toMatchObject({ holderIdentity: "", leaseTransitions: 1 });
  });

  test("a cache sees what is made, changed and deleted, also while the server was away", async () => {
    const { client, plane } = control();
    const problems: unknown[] = [];
    const cache = new ListWatchCache(client, CONFIG_MAPS, {
      namespace: NAMESPACE,
      labelSelector: "seen=true",
      backoff: { baseMs: 50, capMs: 500 },
      onProblem: (cause) => problems.push(cause),
    });
    const end = new AbortController();
    const ran = cache.run(end.signal);
    await withDeadline("the list is in", LONG_MS, cache.whole);
    const key = `${NAMESPACE}/seen`;
    const until = (what: string, isSo: () => boolean): Promise<unknown> =>
      pollUntil(what, { ms: LONG_MS, everyMs: 20 }, () => isSo() || undefined);
    const metadata = { namespace: NAMESPACE, name: "seen", labels: { seen: "true" } };
    const made = await client.create(CONFIG_MAPS, { metadata, data: { n: "1" } });
    await until("it is made", () => cache.get(key)?.data?.["n"] === "1");
    await plane.endApi();
    await until("the watch is cut", () => cache.failures > 0);
    expect(await kindOfFailure(client.get(CONFIG_MAPS, metadata))).toBe("unavailable");
    expect(cache.get(key)?.data).toEqual({ n: "1" });
    await plane.startApi();
    await client.update(CONFIG_MAPS, { ...made, data: { n: "2" } });
    await until("it is changed", () => cache.get(key)?.data?.["n"] === "2");
    await client.delete(CONFIG_MAPS, metadata);
    await until("it is gone", () => cache.list().length === 0);
    end.abort();
    await ran;
    expect(problems.length).toBeGreaterThan(0);
  });
}

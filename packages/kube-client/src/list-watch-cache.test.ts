import { TrineError, withDeadline } from "@trine/base";
import { expect, test, vi } from "vitest";
import type { CacheScope } from "./cache.ts";
import { CONFIG_MAPS, type ConfigMap } from "./core-kinds.ts";
import type { KubeList, ListWatch, WatchEvent } from "./kube-api.ts";
import { ListWatchCache } from "./list-watch-cache.ts";
import type { Stored } from "./object.ts";

// A machine that does much else is slow, not wrong.
vi.setConfig({ testTimeout: 120_000 });

type Script = (KubeList<ConfigMap> | WatchEvent<ConfigMap> | Error)[];

function map(name: string, version: number, data = ""): Stored<ConfigMap> {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "a", name, uid: name, resourceVersion: String(version) },
    data: { data },
  };
}

/** A server that plays what it is given, and tells which versions it was asked to watch from. */
function played(script: Script) {
  const asked: string[] = [];
  const over = Promise.withResolvers<undefined>();
  const api: ListWatch = {
    list: (() => {
      asked.push("list");
      const next = script.shift();
      return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
    }) as ListWatch["list"],
    async *watch(_, { resourceVersion }, signal) {
      asked.push(resourceVersion);
      for (let next = script.shift(); next !== undefined; next = script.shift()) {
        if (next instanceof Error) throw next;
        // A list ends the watch: it is played to whoever lists next.
        yield next as never;
      }
      over.resolve(undefined);
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => {
          resolve();
        });
      });
    },
  };
  return { api, asked, over: over.promise };
}

async function run(script: Script, more: Partial<CacheScope<ConfigMap>> = {}) {
  const { api, asked, over } = played(script);
  const problems: string[] = [];
  const changes: string[] = [];
  const cache = new ListWatchCache(api, CONFIG_MAPS, {
    onProblem: (cause) => problems.push(cause instanceof TrineError ? cause.kind : String(cause)),
    backoff: { baseMs: 1, capMs: 2 },
    indices: { data: ({ data }) => [data?.["data"] ?? ""] },
    ...more,
  });
  cache.onChange((before, after) => {
    const of = (object: typeof before): string => object?.metadata.resourceVersion ?? "-";
    changes.push(`${(after ?? before)?.metadata.name ?? ""} ${of(before)}>${of(after)}`);
  });
  const end = new AbortController();
  const ran = cache.run(end.signal);
  await withDeadline("the script is played", 60_000, over);
  end.abort();
  await ran;
  return { cache, asked, problems, changes };
}

test("a watch that broke goes on from the last version that was seen", async () => {
  const { cache, asked, problems, changes } = await run([
    { items: [map("x", 1), map("y", 2)], resourceVersion: "5" },
    { type: "MODIFIED", object: map("x", 6, "new") },
    { type: "BOOKMARK", resourceVersion: "9" },
    new TrineError("unavailable", "cut"),
    { type: "DELETED", object: map("y", 10) },
  ]);
  expect(asked).toEqual(["list", "5", "9"]);
  expect(problems).toEqual(["unavailable"]);
  expect(changes).toEqual(["x ->1", "y ->2", "x 1>6", "y 2>-"]);
  expect(cache.byIndex("data", "new").map(({ metadata }) => metadata.name)).toEqual(["x"]);
  expect(cache.byIndex("data", "")).toEqual([]);
  await cache.whole;
});

test("after a version that is too old all is listed, and what is gone is told", async () => {
  const { asked, changes, problems } = await run([
    { items: [map("x", 1), map("y", 2)], resourceVersion: "5" },
    new TrineError("expired", "too old"),
    { items: [map("x", 1), map("z", 7)], resourceVersion: "8" },
  ]);
  expect(asked).toEqual(["list", "5", "list", "8"]);
  expect(problems).toEqual(["expired"]);
  expect(changes).toEqual(["x ->1", "y ->2", "z ->7", "y 2>-"]);
});

test("a list that fails is tried again, and an object cannot be changed by who reads it", async () => {
  const { cache, asked } = await run([
    new TrineError("unavailable", "not yet"),
    { items: [map("x", 1)], resourceVersion: "1" },
  ]);
  expect(asked).toEqual(["list", "list", "1"]);
  const data = cache.get("a/x")?.data as Record<string, string>;
  expect(() => {
    data["data"] = "mine";
  }).toThrow(TypeError);
});

test("what a listener throws ends the run", async () => {
  const { api } = played([{ items: [map("x", 1)], resourceVersion: "1" }]);
  const cache = new ListWatchCache(api, CONFIG_MAPS, { onProblem: () => undefined });
  cache.onChange(() => {
    throw new Error("a bug");
  });
  await expect(cache.run(AbortSignal.timeout(60_000))).rejects.toThrow("a bug");
  await expect(cache.whole).rejects.toThrow("ended before its list");
});

test("what is not to be kept is dropped, of the list and of what comes after it", async () => {
  const keep = ({ apiVersion, kind, metadata }: Stored<ConfigMap>): Stored<ConfigMap> => {
    return { apiVersion, kind, metadata };
  };
  const { cache, changes } = await run(
    [
      { items: [map("x", 1, "long"), map("y", 2, "long")], resourceVersion: "2" },
      { type: "MODIFIED", object: map("y", 3, "longer") },
      { type: "MODIFIED", object: map("y", 3, "longer") },
    ],
    { keep },
  );
  expect(changes).toEqual(["x ->1", "y ->2", "y 2>3"]);
  expect(cache.list().map(({ data }) => data)).toEqual([undefined, undefined]);
});

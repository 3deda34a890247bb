import { TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { CONFIG_MAPS, PODS, type Pod } from "../core-kinds.ts";
import { MemoryKube } from "./memory-kube.ts";

const POD: Pod = {
  metadata: { namespace: "a", name: "p", labels: { app: "x" } },
  spec: { containers: [] },
  status: { phase: "Running" },
};
const AT = { namespace: "a", name: "p" };

test("a status is written by its subresource only, and makes no new generation", async () => {
  const kube = new MemoryKube();
  const made = await kube.create(PODS, POD);
  expect(made).toMatchObject({ apiVersion: "v1", kind: "Pod", metadata: { generation: 1 } });
  expect(made.status).toBeUndefined();
  const running = { ...made, status: { phase: "Running" } };
  expect(await kube.update(PODS, running)).toBe(made);
  const stored = await kube.update(PODS, running, { subresource: "status" });
  expect(stored.status).toEqual({ phase: "Running" });
  expect(stored.metadata.generation).toBe(1);
  const moved = await kube.update(PODS, { ...stored, spec: { nodeName: "n", containers: [] } });
  expect(moved).toMatchObject({ status: { phase: "Running" }, metadata: { generation: 2 } });
});

test("what changed since it was read is a conflict", async () => {
  const kube = new MemoryKube();
  const made = await kube.create(CONFIG_MAPS, { metadata: AT, data: { a: "1" } });
  await kube.update(CONFIG_MAPS, { ...made, data: { a: "2" } });
  const kind = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => "done",
      (cause: unknown) => (cause instanceof TrineError ? cause.kind : String(cause)),
    );
  expect(await kind(kube.update(CONFIG_MAPS, { ...made, data: {} }))).toBe("conflict");
  expect(await kind(kube.create(CONFIG_MAPS, { metadata: AT }))).toBe("alreadyExists");
  const patch = [{ op: "test", path: "/data/a", value: "1" } as const];
  expect(await kind(kube.patch(CONFIG_MAPS, AT, patch))).toBe("conflict");
  expect(await kind(kube.delete(CONFIG_MAPS, AT, { uid: "another" }))).toBe("conflict");
  await kube.delete(CONFIG_MAPS, AT, { uid: made.metadata.uid });
  expect(await kind(kube.get(CONFIG_MAPS, AT))).toBe("notFound");
});

test("an object with finalizers is there until the last is gone", async () => {
  const kube = new MemoryKube();
  const cache = kube.cache(CONFIG_MAPS);
  await kube.create(CONFIG_MAPS, { metadata: { ...AT, finalizers: ["x/y"] } });
  await kube.delete(CONFIG_MAPS, AT);
  expect(cache.get("a/p")?.metadata.deletionTimestamp).toBeDefined();
  await kube.patch(CONFIG_MAPS, AT, [{ op: "remove", path: "/metadata/finalizers" }]);
  expect(cache.list()).toEqual([]);
});

test("a pod on a node is there until kubelet has ended it", async () => {
  const kube = new MemoryKube();
  await kube.create(PODS, { ...POD, spec: { nodeName: "n", containers: [] } });
  await kube.delete(PODS, AT);
  expect((await kube.get(PODS, AT)).metadata.deletionGracePeriodSeconds).toBe(30);
  await kube.delete(PODS, AT, { gracePeriodSeconds: 0 });
  await expect(kube.get(PODS, AT)).rejects.toThrow(TrineError);
});

test("a cache that is held back is as old as it was, and its indices follow", async () => {
  const kube = new MemoryKube();
  const cache = kube.cache(PODS, { app: ({ metadata }) => [metadata.labels?.["app"] ?? ""] });
  const seen: string[] = [];
  cache.onChange((before, after) => {
    seen.push(
      `${before?.metadata.labels?.["app"] ?? "-"}>${after?.metadata.labels?.["app"] ?? "-"}`,
    );
  });
  const made = await kube.create(PODS, POD);
  kube.hold();
  await kube.update(PODS, { ...made, metadata: { ...made.metadata, labels: { app: "y" } } });
  expect(cache.byIndex("app", "x")).toHaveLength(1);
  kube.release();
  expect(cache.byIndex("app", "x")).toEqual([]);
  expect(cache.byIndex("app", "y")).toHaveLength(1);
  await kube.delete(PODS, AT);
  expect(seen).toEqual(["->x", "x>y", "y>-"]);
});

test("a hook ends a writer before or after its write", async () => {
  const kube = new MemoryKube();
  kube.hooks.before = () => {
    throw new Error("gone");
  };
  await expect(kube.create(PODS, POD)).rejects.toThrow("gone");
  expect(kube.cache(PODS).list()).toEqual([]);
  delete kube.hooks.before;
  kube.hooks.after = () => {
    throw new Error("gone");
  };
  await expect(kube.create(PODS, POD)).rejects.toThrow("gone");
  expect(kube.writes).toEqual([{ verb: "create", resource: "pods", key: "a/p" }]);
});

test("garbage goes with its owner", async () => {
  const kube = new MemoryKube();
  const owner = await kube.create(CONFIG_MAPS, { metadata: AT });
  const { uid } = owner.metadata;
  const reference = { apiVersion: "v1", kind: "ConfigMap", name: "p", uid };
  await kube.create(PODS, { ...POD, metadata: { ...AT, ownerReferences: [reference] } });
  kube.collectGarbage();
  expect(kube.cache(PODS).list()).toHaveLength(1);
  await kube.delete(CONFIG_MAPS, AT);
  kube.collectGarbage();
  expect(kube.cache(PODS).list()).toEqual([]);
});

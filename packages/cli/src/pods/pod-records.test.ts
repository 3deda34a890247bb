import { mkdtemp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseManifest } from "@trine/pod-spec";
import { afterEach, beforeEach, expect, test } from "vitest";
import { placesOf } from "../testing.ts";
import { PodRecords } from "./pod-records.ts";
import type { PodRecord } from "./pod-records.ts";

const MANIFEST = JSON.stringify({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web" },
  spec: { containers: [{ name: "main", image: "x" }] },
});

let dir: string;
let records: PodRecords;
let record: PodRecord;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-records-"));
  records = new PodRecords(placesOf(dir));
  const [pod] = parseManifest(MANIFEST, "test").pods;
  if (pod === undefined) throw new Error("no pod");
  const nothing = { configMaps: {}, secrets: {}, claims: {} };
  record = await records.create({ pod, ...nothing, cgroupParent: "/" });
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("a start that makes volumes is waited for, and makes none of a removed pod", async () => {
  const { uid } = record;
  const { disk, memory } = records.volumes(uid);
  const order: string[] = [];
  let removed: Promise<void> | undefined;
  await records.whileThere(uid, async () => {
    // Another process has records of its own.
    removed = new PodRecords(placesOf(dir)).remove(record).then(() => void order.push("removed"));
    await mkdir(memory, { recursive: true });
    await mkdir(disk);
    await writeFile(join(memory, "file"), "");
    await readdir(memory);
    order.push("made");
  });
  await removed;
  expect(order).toEqual(["made", "removed"]);
  const late = records.whileThere(uid, () => mkdir(memory, { recursive: true }));
  await expect(late).rejects.toThrow(/removed meanwhile/);
  await records.setFailure(uid, "late");
  for (const left of ["data/pods", "data/names", "data/locks", "volumes"]) {
    expect(await readdir(join(dir, left))).toEqual([]);
  }
});

test("a pod that is to go is not started any more, and its removal waits for the start under way", async () => {
  const { uid } = record;
  const order: string[] = [];
  const other = new PodRecords(placesOf(dir));
  let removed: Promise<void> | undefined;
  await records.alone(uid, { waitS: 0 }, async () => {
    const nothing = (): Promise<void> => Promise.resolve();
    await expect(other.alone(uid, { waitS: 0 }, nothing)).rejects.toMatchObject({
      kind: "conflict",
    });
    const interrupt = new AbortController();
    const waiting = other.alone(uid, { waitS: 3600, signal: interrupt.signal }, nothing);
    interrupt.abort(new Error("^C"));
    await expect(waiting).rejects.toMatchObject({ kind: "canceled" });
    await other.markRemoving(uid);
    removed = other.alone(uid, { waitS: 60 }, async () => {
      order.push("removed");
      await other.remove(record);
    });
    await expect(records.requireKept(uid)).rejects.toMatchObject({ kind: "notFound" });
    await expect(records.whileThere(uid, () => Promise.resolve())).rejects.toThrow(/being removed/);
    await records.setFailure(uid, "it gave up");
    expect(await records.find(uid)).toMatchObject({ removing: true });
    order.push("gave up");
  });
  await removed;
  expect(order).toEqual(["gave up", "removed"]);
  await expect(records.requireKept(uid)).rejects.toThrow(/removed meanwhile/);
  for (const left of ["data/pods", "data/names", "data/locks", "data/starts"]) {
    expect(await readdir(join(dir, left))).toEqual([]);
  }
});

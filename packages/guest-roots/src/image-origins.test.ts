import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageStore } from "@trine/containerd-client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { OriginNotes, imageOf, readOrigins } from "./image-origins.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "to-"));
});

afterEach(async () => {
  vi.useRealTimers();
  await rm(dir, { recursive: true });
});

const origin = (
  namespace: string,
): { containerd: string; namespace: string; snapshotter: string } => ({
  containerd: "/c.sock",
  namespace,
  snapshotter: "overlayfs",
});

test("of origins that are noted at once each stays, once", async () => {
  const path = join(dir, "origins.json");
  const notes = new OriginNotes();
  const names = ["a", "b", "a", "c"];
  await Promise.all(names.map((name) => notes.note(path, origin(name))));
  expect(await readOrigins(path)).toEqual(["a", "b", "c"].map(origin));
});

test("a containerd that takes the question and never answers holds nobody for long", async () => {
  const socket = join(dir, "c.sock");
  const server = createServer().listen(socket);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const store = createImageStore(socket, "k8s.io");
  const asked = imageOf(() => store, { containerd: socket, namespace: "k8s.io", id: "c1" });
  const failed = expect(asked).rejects.toMatchObject({ kind: "timeout" });
  await vi.advanceTimersByTimeAsync(10_000);
  await failed;
  store.close();
  server.close();
});

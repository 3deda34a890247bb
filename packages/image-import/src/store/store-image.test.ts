import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { storeImage } from "./store-image.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-store-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** A store whose snapshots are no plain directories; `onApply` is called when it unpacks a layer. */
function storeThatUnpacks(onApply: () => Promise<void>): ImageStore {
  const done = (): Promise<object> => Promise.resolve({});
  const store = {
    leases: { create: done, delete: done },
    content: { abort: done },
    images: { create: done },
    snapshots: {
      stat: () => Promise.reject(new TrineError("notFound", "no snapshot")),
      prepare: () => Promise.resolve({ mounts: [{ type: "overlay", source: "overlay" }] }),
      remove: done,
      commit: done,
    },
    diff: { apply: onApply },
    under: () => store,
    async write({ chunks }: { chunks: AsyncIterable<Uint8Array> }) {
      const hash = createHash("sha256");
      for await (const chunk of chunks) hash.update(chunk);
      return { digest: `sha256:${hash.digest("hex")}` };
    },
  };
  return store as unknown as ImageStore;
}

test.each([
  ["ours is gone", true],
  ["another's stays", false],
])("while a layer is unpacked a file that is %s", async (_, isOwn) => {
  const path = join(dir, "disk");
  await writeFile(path, Buffer.alloc(4096, 1));
  const handle = await open(path, "r+");
  const seen: [boolean, number][] = [];
  const store = storeThatUnpacks(async () => {
    seen.push([existsSync(path), (await handle.stat()).size]);
  });
  const disk = {
    handle,
    info: { format: "raw", virtualSizeBytes: 4096, fileSizeBytes: 4096, bootable: "mbr" } as const,
    ...(isOwn && { own: { path, isKept: false } }),
    reference: "localhost/a:1",
    labels: {},
    architecture: "amd64",
    snapshotter: "overlayfs",
    key: "trine-import-a",
    onProgress: () => undefined,
  };
  await storeImage(store, disk, new AbortController().signal);
  await handle.close();
  expect(seen).toEqual([isOwn ? [false, 0] : [true, 4096]]);
});

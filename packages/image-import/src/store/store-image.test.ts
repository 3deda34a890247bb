import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { DiskToStore } from "./disk-to-store.ts";
import { storeImage, storeTogether } from "./store-image.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-store-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** containerd's names of images; `refused` is not taken. */
class Names {
  readonly digests: Map<string, string>;
  readonly #refused: string | undefined;

  constructor(digests: Readonly<Record<string, string>> = {}, refused?: string) {
    this.digests = new Map(Object.entries(digests));
    this.#refused = refused;
  }

  get({ name }: { name: string }): Promise<object> {
    const digest = this.digests.get(name);
    if (digest === undefined) return Promise.reject(new TrineError("notFound", name));
    return Promise.resolve({ image: { name, target: { digest } } });
  }

  create({ image }: NamedRequest): Promise<object> {
    const { name } = image;
    if (this.digests.has(name)) return Promise.reject(new TrineError("alreadyExists", name));
    return this.update({ image });
  }

  update({ image: { name, target } }: NamedRequest): Promise<object> {
    if (name === this.#refused) return Promise.reject(new TrineError("unavailable", "disk full"));
    this.digests.set(name, target.digest);
    return Promise.resolve({});
  }

  delete({ name }: { name: string }): Promise<object> {
    this.digests.delete(name);
    return Promise.resolve({});
  }
}

interface NamedRequest {
  readonly image: { readonly name: string; readonly target: { readonly digest: string } };
}

/**
 * A store that is sent layers, or packs what lies in the directory `packs`; `onLayer` is called when it unpacks one
 * or makes one.
 */
function storeThat(
  onLayer: () => Promise<void>,
  packs?: string,
  images: object = new Names(),
): ImageStore {
  const done = (): Promise<object> => Promise.resolve({});
  const mount =
    packs === undefined ? { type: "overlay", source: "overlay" } : { type: "bind", source: packs };
  const packed = { digest: `sha256:${"0".repeat(64)}`, size: 4096n };
  const store = {
    leases: { create: done, delete: done, addResource: done },
    content: { abort: done, status: done },
    images,
    snapshots: {
      stat: () => Promise.reject(new TrineError("notFound", "no snapshot")),
      prepare: () => Promise.resolve({ mounts: [mount] }),
      remove: done,
      commit: done,
    },
    diff: { apply: onLayer, diff: () => onLayer().then(() => ({ diff: packed })) },
    under: () => store,
    async write({ chunks }: { chunks: AsyncIterable<Uint8Array> }) {
      const hash = createHash("sha256");
      for await (const chunk of chunks) hash.update(chunk);
      return { digest: `sha256:${hash.digest("hex")}` };
    },
  };
  return store as unknown as ImageStore;
}

/** A disk of ours of 4096 bytes. */
function diskAt(path: string, handle: FileHandle, isKept: boolean): DiskToStore {
  return {
    handle,
    info: { format: "raw", virtualSizeBytes: 4096, fileSizeBytes: 4096, bootable: "mbr" },
    own: { path, isKept },
    reference: "localhost/a:1",
    labels: {},
    architecture: "amd64",
    snapshotter: "overlayfs",
    key: "trine-import-a",
    onProgress: () => undefined,
  };
}

test.each([
  ["ours is gone", true],
  ["another's stays", false],
])("while a layer is unpacked a file that is %s", async (_, isOwn) => {
  const path = join(dir, "disk");
  await writeFile(path, Buffer.alloc(4096, 1));
  const handle = await open(path, "r+");
  const seen: [boolean, number][] = [];
  const store = storeThat(async () => {
    seen.push([existsSync(path), (await handle.stat()).size]);
  });
  const { own, ...others } = diskAt(path, handle, false);
  const disk = { ...others, ...(isOwn && own && { own }) };
  await storeImage(store, disk, new AbortController().signal);
  await handle.close();
  expect(seen).toEqual([isOwn ? [false, 0] : [true, 4096]]);
});

test.each(["sent", "packed where it lies", "packed on another file system"])(
  "a download that is to be kept is whole until its layer, %s, is made",
  async (how) => {
    const other = await mkdtemp(join(how.includes("other") ? "/dev/shm" : dir, "trine-snapshot-"));
    const path = join(dir, "download");
    const bytes = Buffer.alloc(4096, 1);
    await writeFile(path, bytes);
    await using handle = await open(path, "r+");
    const disk = diskAt(path, handle, true);
    const interrupt = new AbortController();
    try {
      const snapshots = [join(other, "a"), join(other, "b")] as const;
      for (const snapshot of snapshots) await mkdir(snapshot);
      const packs = (at: 0 | 1): string | undefined => (how === "sent" ? undefined : snapshots[at]);
      const stopped = storeThat(() => {
        interrupt.abort(new Error("^C"));
        return Promise.reject(new Error("ended"));
      }, packs(0));
      await expect(storeImage(stopped, disk, interrupt.signal)).rejects.toThrow();
      expect((await readFile(path)).equals(bytes)).toBe(true);
      const again = storeThat(() => Promise.resolve(), packs(1));
      await storeImage(again, disk, new AbortController().signal);
      expect(existsSync(path)).toBe(false);
      if (how === "sent") return;
      expect((await readFile(join(snapshots[1], "disk/disk.img"))).equals(bytes)).toBe(true);
    } finally {
      await rm(other, { recursive: true });
    }
  },
);

test("when a name is refused, those given before are as they were", async () => {
  const before = { "localhost/a-old:1": "sha256:before", "localhost/other:1": "sha256:other" };
  const names = new Names(before, "localhost/a-refused:1");
  const path = join(dir, "disk");
  await writeFile(path, Buffer.alloc(4096, 1));
  await using handle = await open(path, "r");
  const { own, ...lent } = diskAt(path, handle, false);
  expect(own?.path).toBe(path);
  const store = storeThat(() => Promise.resolve(), undefined, names);
  const storing = (...each: readonly string[]): Promise<void> =>
    storeTogether(
      store,
      "trine-import-a",
      async (make) => {
        for (const one of each) await make({ ...lent, reference: `localhost/a-${one}:1` });
      },
      new AbortController().signal,
    );
  await expect(storing("new", "old", "refused")).rejects.toThrow("disk full");
  expect(Object.fromEntries(names.digests)).toEqual(before);
  await storing("new", "old");
  expect([...names.digests.keys()].sort()).toEqual([
    ...["localhost/a-new:1", "localhost/a-old:1", "localhost/other:1"],
  ]);
  expect(names.digests.get("localhost/a-old:1")).toMatch(/^sha256:[0-9a-f]{64}$/);
});

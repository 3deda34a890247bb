// Imports into a real containerd, from a real server, by the real programs.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { createCriClient, createImageStore } from "@trine/containerd-client";
import type { ImageStore } from "@trine/containerd-client";
import { HOSTILE_IMAGES } from "@trine/disk-images/testing";
import { startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  EMPTY_IMAGE,
  collectLeftovers,
  importAllDisks,
  importDisk,
  putEmptyImage,
  removeEmptyImage,
} from "./index.ts";
import type { ImportProgress, ImportRequest, ImportedImage } from "./index.ts";
import { HOSTILE_FILES, SECOND_MIB, makeFiles } from "./hostile/testing.ts";
import { httpOf, startServer } from "./testing.ts";
import type { TestServer } from "./testing.ts";

const MIB = 1024 * 1024;
const STEPS = ["download", "unpack", "convert", "store", "register"] as const;

// The jail and the unpackers are slow on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

describe.each(["1.6", "2.4"] as const)("containerd %s", (version) => {
  let dir: string;
  let containerd: Containerd;
  let store: ImageStore;
  let server: TestServer;
  /** Of containerd's store, beyond what was there first. */
  let added: () => Promise<string[]>;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "tii-"));
    await mkdir(join(dir, "files"));
    containerd = await startContainerd({ version, dir: join(dir, "c") });
    store = createImageStore(containerd.socket, "k8s.io");
    await makeFiles(join(dir, "files"));
    server = await startServer((request, response) => {
      void readFile(join(dir, "files", request.url ?? "")).then((bytes) => {
        response.writeHead(200, { etag: '"1"', "content-length": bytes.length }).end(bytes);
      });
    });
    added = await containerd.watchStore();
  }, 1_800_000);

  afterAll(async () => {
    store.close();
    await server.close();
    expect(await containerd.stop()).toEqual([]);
    await rm(dir, { recursive: true });
  });

  // A test that failed half way takes nothing from the next.
  afterEach(() => remove());

  function importing(
    source: string,
    request: Partial<ImportRequest> = {},
    onProgress: (progress: ImportProgress) => void = () => undefined,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<ImportedImage> {
    return importDisk(store, requestOf(source, request), onProgress, signal);
  }

  function requestOf(source: string, more: Partial<ImportRequest>): ImportRequest {
    return {
      source,
      reference: "localhost/test:1",
      limits: { maxBytes: 1024 * MIB, maxExpansion: 1000, checkTables: true },
      http: httpOf({ stallMs: 30_000 }),
      retries: 0,
      keepPartial: false,
      workDir: join(dir, "imports"),
      snapshotter: "overlayfs",
      architecture: "amd64",
      ...more,
    };
  }

  const leftHere = (): Promise<string[]> => readdir(join(dir, "imports"));

  async function remove(reference = "localhost/test:1"): Promise<void> {
    const { images } = await store.images.list({});
    const target = images.find(({ name }) => name === reference)?.target?.digest;
    if (target === undefined) return;
    const names = images.filter((image) => image.target?.digest === target);
    for (const { name } of names) await store.images.delete({ name, sync: true });
  }

  test.each([
    ["tiny.qcow2", "qcow2", ["download", "store", "register"]],
    ["full.raw", "raw", ["download", "store", "register"]],
    ["disc.iso", "raw", ["download", "store", "register"]],
    ["sparse.raw.zst", "qcow2", ["download", "unpack", "convert", "store", "register"]],
    ["stream.vmdk.gz", "qcow2", ["download", "unpack", "convert", "store", "register"]],
    ["sparse.vmdk", "qcow2", ["download", "convert", "store", "register"]],
    ["dynamic.vhd.bz2", "qcow2", ["download", "unpack", "convert", "store", "register"]],
    ["fixed.vhd", "qcow2", ["download", "convert", "store", "register"]],
    ["disk.vhdx.xz", "qcow2", ["download", "unpack", "convert", "store", "register"]],
    ["appliance.ova", "qcow2", ["download", "check", "convert", "store", "register"]],
    ["disk.zip", "qcow2", ["download", "unpack", "convert", "store", "register"]],
    ["zstd.zip", "raw", ["download", "unpack", "store", "register"]],
  ])("%s by URL and as a file, never with more than two copies", async (name, format, steps) => {
    const file = join(dir, "files", name);
    const seen: string[] = [];
    const checksum = { algorithm: "sha256", hex: sha256(await readFile(file)) } as const;
    const used = await diskUsage(dir);
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, usageNow(dir) - used);
    }, 200);
    const fetched = await importing(`${server.url}/${name}`, { checksum }, ({ step }) => {
      if (seen.at(-1) !== step) seen.push(step);
      if (step === "register") most = Math.max(most, usageNow(dir) - used);
    });
    clearInterval(watch);
    expect(seen).toEqual(steps);
    expect(fetched.info.format).toBe(format);
    const largest = Math.max(
      fetched.info.fileSizeBytes,
      (await stat(file)).size,
      await unpackedBytes(file, name),
    );
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(2 * largest + 2 * MIB);
    expect(await leftHere()).toEqual([]);
    const local = await importing(file);
    expect(local.layerDigest).toBe(fetched.layerDigest);
    expect((await containerd.ctr("images", "check")).replaceAll(/ +/g, " ")).toMatch(
      /localhost\/test:1 \S+ sha256:\w+ complete \(2\/2\) .* true/,
    );
    await remove();
    expect(await added()).toEqual([]);
  });

  test("each hostile file ends in one line, and nothing of it stays", async () => {
    const secret = join(dir, "files", "secret");
    const before = await stat(secret);
    const cases = [
      ...HOSTILE_IMAGES.filter(
        ({ name }) => !/foreign: (VMDK|VHD|fixed|gzip|xz|zstd|zip)/.test(name),
      ),
      ...HOSTILE_FILES(join(dir, "files")),
    ];
    for (const { name, bytes, says } of cases) {
      const file = join(dir, "files", "hostile");
      await writeFile(file, bytes());
      for (const source of [file, `${server.url}/hostile`]) {
        const cause = await importing(source).then(
          () => undefined,
          (reason: unknown) => reason as Error,
        );
        expect({ name, message: cause?.message }).toMatchObject({
          message: expect.stringMatching(says) as string,
        });
        expect(cause).toMatchObject({ kind: "invalid" });
        expect(cause?.message).not.toContain("\n");
      }
    }
    expect(await leftHere()).toEqual([]);
    expect(await added()).toEqual([]);
    expect((await stat(secret)).atimeMs).toBe(before.atimeMs);
  });

  test("limits: too large as it is, unpacked, or expanded", async () => {
    const limits = { maxBytes: 4 * MIB, maxExpansion: 1000, checkTables: true };
    for (const name of ["tiny.qcow2", "disc.iso", "bomb.gz", "bomb.xz", "bomb.zst"]) {
      for (const place of [join(dir, "files"), server.url]) {
        await expect(importing(`${place}/${name}`, { limits })).rejects.toMatchObject({
          kind: "invalid",
          message: expect.stringMatching(/limit (is|of) 4194304/) as string,
        });
      }
    }
    const expansion = { maxBytes: 8192 * MIB, maxExpansion: 10, checkTables: true };
    await expect(
      importing(join(dir, "files/bomb.zst"), { limits: expansion }),
    ).rejects.toMatchObject({ message: expect.stringMatching(/10 times its \d+ bytes/) as string });
    const checksum = { algorithm: "sha512", hex: "0".repeat(128) } as const;
    for (const place of [join(dir, "files"), server.url]) {
      await expect(importing(`${place}/tiny.qcow2`, { checksum })).rejects.toMatchObject({
        kind: "invalid",
        message: expect.stringMatching(/checksum is sha512:/) as string,
      });
    }
    expect(await leftHere()).toEqual([]);
    expect(await added()).toEqual([]);
  });

  test.each(STEPS)("interrupted at %s it leaves nothing", async (step) => {
    const interrupt = new AbortController();
    const started = importing(
      `${server.url}/stream.vmdk.gz`,
      {},
      (progress) => {
        if (progress.step === step) interrupt.abort(new Error("^C"));
      },
      interrupt.signal,
    );
    if (step === "register") {
      // Too late: the name is being given, and an import that is done stays.
      await started;
      await remove();
    } else {
      await expect(started).rejects.toThrow("^C");
    }
    expect(await leftHere()).toEqual([]);
    expect(await added()).toEqual([]);
  });

  test("interrupted with keepPartial it goes on; garbage collection takes what nobody wants", async () => {
    const body = await readFile(join(dir, "files/tiny.qcow2"));
    const asked: (string | undefined)[] = [];
    const slow = await startServer((request, response) => {
      const { range } = request.headers;
      asked.push(range);
      const start = Number(/\d+/.exec(range ?? "0")?.[0]);
      const headers = { etag: '"1"', "content-length": body.length - start };
      const part = { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` };
      response.writeHead(start > 0 ? 206 : 200, start > 0 ? { ...headers, ...part } : headers);
      if (asked.length === 1) response.write(body.subarray(0, 2 * MIB));
      else response.end(body.subarray(start));
    });
    const interrupt = new AbortController();
    const begun = importing(
      `${slow.url}/a`,
      { keepPartial: true },
      ({ done }) => {
        if (done >= MIB) interrupt.abort(new Error("^C"));
      },
      interrupt.signal,
    );
    await expect(begun).rejects.toThrow("^C");
    expect(await leftHere()).toHaveLength(1);
    const kept = { workDir: join(dir, "imports"), all: false };
    expect(await collectLeftovers(store, kept)).toMatchObject([{ state: "kept" }]);
    const checksum = { algorithm: "sha256", hex: sha256(body) } as const;
    await importing(`${slow.url}/a`, { checksum });
    expect(asked).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d{6,}-$/) as string]);
    await remove();
    await slow.close();
    // The server is gone, and so is the import: with nothing begun there is nothing to keep.
    await expect(importing(`${slow.url}/a`)).rejects.toMatchObject({ kind: "unavailable" });
    expect(await leftHere()).toEqual([]);
    expect(await added()).toEqual([]);
  });

  test("of an OVA with several disks the one that is named", async () => {
    const file = join(dir, "files/two.ova");
    await expect(importing(file)).rejects.toThrow(/2 disks \("a\.vmdk", "b\.vmdk"\): --disk/);
    await expect(importing(file, { disk: "c.vmdk" })).rejects.toThrow(/no disk "c\.vmdk"/);
    const { info } = await importing(`${server.url}/two.ova`, { disk: "b.vmdk" });
    expect(info.virtualSizeBytes).toBe(SECOND_MIB * MIB);
    await remove();
    expect(await leftHere()).toEqual([]);
    expect(await added()).toEqual([]);
  });

  test("all disks of an OVA, an image each, of one download; and none when one of them is wrong", async () => {
    const ova = join(dir, "files/two.ova");
    const limits = { maxBytes: 1024 * MIB, maxExpansion: 1000, checkTables: true };
    const all = (source: string, more: Partial<ImportRequest> = {}): Promise<ImportedImage[]> =>
      importAllDisks(store, requestOf(source, more), (disk) => `localhost/${disk.charAt(0)}:1`, {
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
    const checksum = { algorithm: "sha256", hex: sha256(await readFile(ova)) } as const;
    for (const source of [ova, `${server.url}/two.ova`]) {
      const images = await all(source, { checksum });
      expect(images.map(({ reference }) => reference)).toEqual(["localhost/a:1", "localhost/b:1"]);
      expect(images[1]?.info.virtualSizeBytes).toBe(SECOND_MIB * MIB);
      const single = await importing(ova, { disk: "a.vmdk" });
      expect(single.layerDigest).toBe(images[0]?.layerDigest);
      for (const name of ["localhost/test:1", "localhost/a:1", "localhost/b:1"]) await remove(name);
      expect(await leftHere()).toEqual([]);
      expect(await added()).toEqual([]);
    }
    // Behind the header of the second disk's file: its own sum in the manifest finds it.
    const bytes = await readFile(ova);
    const end = bytes.lastIndexOf("b.vmdk") + 4096;
    bytes.writeUInt8(bytes.readUInt8(end) ^ 0xff, end);
    await writeFile(join(dir, "files/hostile"), bytes);
    await expect(all(`${server.url}/hostile`)).rejects.toMatchObject({ kind: "invalid" });
    await expect(all(join(dir, "files/disk.zip"))).rejects.toThrow(/is no OVA: --all-disks/);
    await expect(all(ova, { limits: { ...limits, maxBytes: 9 } })).rejects.toThrow(/limit is 9/);
    expect(await leftHere()).toEqual([]);
    expect(await added()).toEqual([]);
  });

  test("a file that only root may read is converted too, and stays as it is", async () => {
    const file = join(dir, "files/own.vmdk");
    await copyFile(join(dir, "files/sparse.vmdk"), file);
    execFileSync("chmod", ["600", file]);
    await importing(file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await remove();
    expect(await added()).toEqual([]);
  });

  test("the empty image is put once, CRI has it for good, and it goes with all it brought", async () => {
    const { signal } = new AbortController();
    const cri = createCriClient(containerd.socket);
    const known = async (): Promise<boolean | undefined> => {
      const { image } = await cri.images.imageStatus({ image: { image: EMPTY_IMAGE } });
      return image?.pinned;
    };
    try {
      expect(await putEmptyImage(store, "amd64", signal)).toBe(true);
      expect(await putEmptyImage(store, "amd64", signal)).toBe(false);
      const pinned = await pollUntil("CRI knows it", { ms: 60_000, everyMs: 100 }, known);
      // containerd 1.6 pins nothing.
      expect(pinned).toBe(version !== "1.6");
      // One that somebody has put there instead is replaced.
      const { image } = await store.images.get({ name: EMPTY_IMAGE });
      if (image === undefined) throw new Error("it has no image");
      await store.images.update({
        image: { ...image, labels: {} },
        updateMask: { paths: ["labels"] },
      });
      expect(await putEmptyImage(store, "amd64", signal)).toBe(true);
      await removeEmptyImage(store, "amd64");
      await removeEmptyImage(store, "amd64");
      expect(await added()).toEqual([]);
    } finally {
      cri.close();
    }
  });
});

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes of blocks on disk below the parts of a directory that an import writes to. */
function usageNow(dir: string): number {
  const places = [join(dir, "imports"), join(dir, "c/root")];
  // Files come and go meanwhile: du says so, and counts the rest.
  const script = 'du -s --block-size=1 -c "$@" 2>/dev/null | tail -n 1';
  const text = execFileSync("sh", ["-c", script, "sh", ...places], { encoding: "utf8" });
  return Number(/^\d+/.exec(text)?.[0] ?? 0);
}

async function diskUsage(dir: string): Promise<number> {
  await mkdir(join(dir, "imports"), { recursive: true });
  return usageNow(dir);
}

async function unpackedBytes(file: string, name: string): Promise<number> {
  const unpacked = name.replace(/\.(gz|xz|zst|bz2)$/, "");
  const { blocks } = await stat(join(file, "..", unpacked));
  return blocks * 512;
}

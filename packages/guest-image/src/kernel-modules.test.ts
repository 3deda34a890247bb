import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { buildInitramfs } from "./initramfs.ts";
import { KernelModules } from "./kernel-modules.ts";
import { sampleModule } from "./testing.ts";

const { signal } = new AbortController();
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-modules-"));
  await mkdir(join(dir, "kernel/drivers"), { recursive: true });
});
afterEach(() => rm(dir, { recursive: true }));

async function order(...names: string[]): Promise<string[]> {
  const modules = await (await KernelModules.open(dir)).inLoadOrder(names, signal);
  return modules.map(({ name }) => name);
}

function add(file: string, data: Buffer): Promise<void> {
  return writeFile(join(dir, "kernel/drivers", file), data);
}

test("what a module needs comes before it, once; names may have dashes", async () => {
  await add("virtio-rng.ko", sampleModule(["virtio"]));
  await add("virtio_pci.ko", sampleModule(["virtio_ring", "virtio"]));
  await add("virtio.ko", sampleModule(["virtio_ring"]));
  await add("virtio_ring.ko", sampleModule([]));
  expect(await order("virtio_rng", "virtio-pci")).toEqual([
    ...["virtio_ring", "virtio", "virtio_rng", "virtio_pci"],
  ]);
});

test("compressed modules come out uncompressed", async () => {
  await add("a.ko.zst", zstdCompressSync(sampleModule([])));
  const modules = await (await KernelModules.open(dir)).inLoadOrder(["a"], signal);
  expect(modules).toEqual([{ name: "a", data: sampleModule([]) }]);
});

test("what is part of the kernel is not asked for", async () => {
  await add("a.ko", sampleModule(["crc32c_generic"]));
  await writeFile(join(dir, "modules.builtin"), "kernel/crypto/crc32c_generic.ko\n");
  expect(await order("a", "crc32c_generic")).toEqual(["a"]);
});

test("a missing module is named, with who needs it", async () => {
  await add("a.ko", sampleModule(["b"]));
  await expect(order("a")).rejects.toThrow(`${dir}: no module b, which a needs`);
  await expect(order("c")).rejects.toMatchObject({
    kind: "notFound",
    message: `${dir}: no module c`,
  });
});

test("what is loaded on demand brings what it needs, and the names it is asked for by", async () => {
  await add(
    "nf_tables.ko",
    sampleModule(["nfnetlink"], ["nfnetlink-subsys-10", "with blank", "x*"]),
  );
  await add("nfnetlink.ko", sampleModule([], ["net-pf-16-proto-12"]));
  await writeFile(join(dir, "modules.builtin"), "kernel/net/dummy.ko\n");
  const modules = await KernelModules.open(dir);
  const found = await modules.onDemand(["nf-tables", "dummy", "not-there"], signal);
  expect(found).toMatchObject([
    { name: "nfnetlink", needs: [], aliases: ["net-pf-16-proto-12"] },
    { name: "nf_tables", needs: ["nfnetlink"], aliases: ["nfnetlink-subsys-10"] },
  ]);
  const [, nfTables] = found;
  const initramfs = buildInitramfs(Buffer.alloc(1), found.slice(0, 1), found).toString("latin1");
  expect(initramfs).toContain(
    "nfnetlink - net-pf-16-proto-12\nnf_tables nfnetlink nfnetlink-subsys-10\n",
  );
  expect(initramfs).toContain("lib/modules/nf_tables.ko");
  // A module of both lists is in the archive once.
  expect(initramfs.split("lib/modules/nfnetlink.ko\0")).toHaveLength(2);
  expect(nfTables?.data).toEqual(await readFile(join(dir, "kernel/drivers/nf_tables.ko")));
});

test("modules that need one another are refused", async () => {
  await add("a.ko", sampleModule(["b"]));
  await add("b.ko", sampleModule(["a"]));
  await expect(order("a")).rejects.toThrow(/modules without end: a needs b needs a/);
});

test.each([
  ["text", Buffer.from("no module"), /a: no ELF file/],
  ["one cut off", sampleModule(["b"]).subarray(0, -20), /a: cut off/],
  ["damaged compression", zstdCompressSync(sampleModule([])).fill(7, 8), /a\.ko: decompress zstd/],
])("%s instead of a module is refused", async (_, data, says) => {
  await add("a.ko", data);
  await expect(order("a")).rejects.toThrow(says);
  await expect(order("a")).rejects.toMatchObject({ kind: "invalid" });
});

test("a directory without modules is refused", async () => {
  await expect(KernelModules.open("/nowhere")).rejects.toMatchObject({
    kind: "notFound",
    message: expect.stringMatching(/^\/nowhere: no modules there/) as string,
  });
});

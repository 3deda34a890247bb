// Disks of qemu-img from a real server into a directory: straight, as far as their format allows, else by the work directory.
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { DEFAULT_IMPORT_LIMITS } from "../limits.ts";
import { FileServer, httpOf, startServer } from "../testing.ts";
import type { TestServer } from "../testing.ts";
import { importToVolume } from "./import-to-volume.ts";
import { VolumeTarget } from "./volume-target.ts";

const MIB = 1024 * 1024;
const DISK_BYTES = 40 * MIB + 512;
/** Tables and jails: a disk that is kept in it does not fit. */
const WORK_BYTES = 2 * MIB;
const signal = new AbortController().signal;

let dir: string;
let raw: Buffer;
let files: FileServer;
let server: TestServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-straight-"));
  raw = Buffer.alloc(DISK_BYTES);
  // Boots; noise, holes, zeros within a cluster, and an end that is no whole cluster.
  randomBytes(5 * MIB).copy(raw, 0);
  raw.writeUInt16LE(0xaa55, 510);
  raw.fill(0, 100_000, 140_000);
  randomBytes(3 * MIB).copy(raw, 20 * MIB + 4_096);
  randomBytes(512).copy(raw, 40 * MIB);
  await writeFile(join(dir, "raw"), raw);
});

afterAll(() => rm(dir, { recursive: true }));

beforeEach(async () => {
  for (const name of ["volume", "work"]) await mkdir(join(dir, name));
  files = new FileServer(Buffer.of());
  server = await startServer(files.listener);
});

afterEach(async () => {
  await server.close();
  for (const name of ["volume", "work"]) await rm(join(dir, name), { recursive: true });
});

function qemuImg(...args: readonly string[]): void {
  execFileSync("qemu-img", [...args], { cwd: dir, stdio: "pipe" });
}

/** What qemu-img makes of the disk, with these options. */
async function made(format: string, ...options: readonly string[]): Promise<Buffer> {
  await rm(join(dir, "made"), { force: true });
  qemuImg("convert", "-f", "raw", "-O", format, ...options, "raw", "made");
  return readFile(join(dir, "made"));
}

async function imported(more: { checksum?: string; maxBytes?: number } = {}): Promise<Buffer> {
  const path = join(dir, "volume");
  const target = await VolumeTarget.open({ path, sizeBytes: 64 * MIB });
  const request = {
    source: `${server.url}/disk`,
    limits: DEFAULT_IMPORT_LIMITS,
    http: httpOf(),
    retries: 2,
    keepPartial: true,
    workDir: join(dir, "work"),
    ...(more.checksum === undefined
      ? {}
      : { checksum: { algorithm: "sha256", hex: more.checksum } as const }),
  };
  try {
    await importToVolume(target, request, () => undefined, signal);
    await target.finish(signal);
  } catch (cause) {
    await target.discard();
    expect(await readdir(path)).not.toContain(".trine-import.part");
    throw cause;
  }
  await target.close();
  return readFile(join(path, "disk.img"));
}

/** With no room in the work directory. */
async function importedStraight(): Promise<Buffer> {
  const work = join(dir, "work");
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${WORK_BYTES}`, "tmpfs", work]);
  try {
    return await imported();
  } finally {
    execFileSync("umount", [work]);
  }
}

function isDisk(found: Buffer): boolean {
  const rest = found.subarray(raw.length);
  return found.subarray(0, raw.length).equals(raw) && rest.equals(Buffer.alloc(rest.length));
}

const QCOW2 = ["-o"];

test.each<readonly [string, readonly string[]]>([
  ["qcow2", []],
  ["qcow2", [...QCOW2, "compat=0.10"]],
  ["qcow2", [...QCOW2, "cluster_size=4k"]],
  ["qcow2", [...QCOW2, "cluster_size=2M"]],
  ["qcow2", [...QCOW2, "lazy_refcounts=on"]],
  ["qcow2", [...QCOW2, "preallocation=metadata"]],
  ["raw", []],
])("straight: %s %j", async (format, options) => {
  files.body = await made(format, ...options);
  expect(isDisk(await importedStraight())).toBe(true);
  expect(files.asked).toHaveLength(1);
});

test("straight, though the connection is cut again and again", async () => {
  files.body = await made("qcow2");
  files.cuts = [2 * MIB + 77, 2 * MIB + 1_003];
  expect(isDisk(await importedStraight())).toBe(true);
  expect(files.asked.map(({ range }) => range?.replace(/\d+/, "N"))).toEqual([
    undefined,
    "bytes=N-",
    "bytes=N-",
  ]);
});

test("what changes while it is fetched begins anew", async () => {
  const first = await made("qcow2");
  files.body = Buffer.from(first.map((byte) => byte ^ 0xff));
  first.subarray(0, MIB).copy(files.body);
  files.cuts = [3 * MIB];
  const { listener } = files;
  await server.close();
  server = await startServer((request, response) => {
    listener(request, response);
    files.etag = '"v2"';
    files.body = first;
  });
  expect(isDisk(await importedStraight())).toBe(true);
});

test("what was kept out of place is brought there: a disk that was written from its end", async () => {
  const file = join(dir, "scattered");
  qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", file, String(40 * MIB));
  // Each table covers 2 MiB: its data is written before that of the tables before it.
  const words = Array.from({ length: 20 }, (_, index) => {
    const at = (19 - index) * 2;
    return `-c "write -P ${index + 1} ${at}M 64k" -c "write -P ${index + 1} ${at + 1}M 12k"`;
  });
  execFileSync("sh", ["-c", `qemu-io -f qcow2 ${words.join(" ")} ${file}`], { stdio: "pipe" });
  qemuImg("convert", "-f", "qcow2", "-O", "raw", file, "scattered.raw");
  files.body = await readFile(file);
  const found = await importedStraight();
  const wanted = await readFile(join(dir, "scattered.raw"));
  expect(found.subarray(0, wanted.length).equals(wanted)).toBe(true);
});

test.each<readonly [string, () => Promise<Buffer>, number]>([
  ["compressed", () => made("qcow2", "-c"), 1],
  ["of extended tables", () => made("qcow2", "-o", "extended_l2=on"), 1],
  ["of tiny clusters", () => made("qcow2", "-o", "cluster_size=512"), 1],
  ["a VHD that looks raw but for its end", () => made("vpc", "-o", "subformat=fixed"), 2],
  ["a raw disk of an odd size", async () => (await made("raw")).subarray(0, 40 * MIB + 100), 1],
])("by the work directory: %s", async (_, body, fetches) => {
  files.body = await body();
  const found = await imported();
  expect(found.subarray(0, 40 * MIB).equals(raw.subarray(0, 40 * MIB))).toBe(true);
  expect(files.asked).toHaveLength(fetches);
  await expect(importedStraight()).rejects.toMatchObject({ kind: "exhausted" });
});

test("a disk that is compressed from its middle on is fetched once more", async () => {
  const file = join(dir, "mixed");
  qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", file, String(40 * MIB));
  const plain = Array.from({ length: 3 }, (_, at) => `-c "write -P 7 ${at}M 1M"`).join(" ");
  const packed = '-c "write -c -P 9 30M 4k"';
  execFileSync("sh", ["-c", `qemu-io -f qcow2 ${plain} ${packed} ${file}`], { stdio: "pipe" });
  files.body = await readFile(file);
  const found = await imported();
  expect(found.subarray(0, 3 * MIB).every((byte) => byte === 7)).toBe(true);
  expect(found.subarray(30 * MIB, 30 * MIB + 4_096).every((byte) => byte === 9)).toBe(true);
  expect(files.asked).toHaveLength(2);
});

test("sums are compared, and what is too large, cut off or hostile leaves nothing", async () => {
  files.body = await made("qcow2");
  const checksum = createHash("sha256").update(files.body).digest("hex");
  expect(isDisk(await imported({ checksum }))).toBe(true);
  await expect(imported({ checksum: checksum.replaceAll(/\d/g, "0") })).rejects.toMatchObject({
    kind: "invalid",
  });
  const whole = files.body;
  files.body = whole.subarray(0, 4 * MIB);
  await expect(imported()).rejects.toMatchObject({ kind: "invalid" });
  // A table's entry leads to the table itself, to another's cluster, behind the end.
  for (const entry of [0x4_0000n, 0x5_0000n, 0x7fff_0000n]) {
    const bad = Buffer.from(whole);
    const table = Number(bad.readBigUInt64BE(Number(bad.readBigUInt64BE(40))) & 0xffffffff0000n);
    bad.writeBigUInt64BE(entry | (1n << 63n), table + 8);
    files.body = bad;
    await imported().then(
      // What the reader of the whole makes of it is its own affair; here nobody's bytes but its own are read.
      (found) => {
        expect(found.length).toBe(64 * MIB);
      },
      (cause: unknown) => {
        expect(cause).toMatchObject({ kind: "invalid" });
      },
    );
  }
  qemuImg("create", "-q", "-f", "qcow2", "large", "65M");
  files.body = Buffer.concat([await readFile(join(dir, "large")), Buffer.alloc(MIB)]);
  await expect(imported()).rejects.toMatchObject({
    message: expect.stringContaining("the volume takes") as string,
  });
});

import { mkdir, mkdtemp, open, readFile, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { qcow2Bytes } from "@trine/disk-images/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fetchDisk } from "../fetch/fetch-disk.ts";
import type { Job } from "../import-steps.ts";
import { DEFAULT_IMPORT_LIMITS } from "../limits.ts";
import type { ImportLimits } from "../limits.ts";
import { FileServer, httpOf, startServer } from "../testing.ts";
import type { TestServer } from "../testing.ts";
import { WorkDir } from "../work-dir.ts";
import { Straight } from "./straight.ts";
import { VolumeTarget } from "./volume-target.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const CLUSTER = 64 * KIB;

let dir: string;
let target: VolumeTarget;
let straight: Straight;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-straight-"));
  await mkdir(join(dir, "volume"));
  await mkdir(join(dir, "work"));
  target = await VolumeTarget.open({ path: join(dir, "volume"), sizeBytes: 1024 * MIB });
  straight = new Straight(target, DEFAULT_IMPORT_LIMITS, "disk");
});

afterEach(async () => {
  await target.discard();
  await rm(dir, { recursive: true });
});

/** A disk whose last table names a cluster behind the end: that shows when all has come. */
function unfitAtItsEnd(): Buffer {
  const tables = qcow2Bytes({ l1: [BigInt(4 * CLUSTER)] });
  const l2 = Buffer.alloc(CLUSTER);
  l2.writeBigUInt64BE(BigInt(5 * CLUSTER), 0);
  l2.writeBigUInt64BE(BigInt(6 * CLUSTER), 8);
  return Buffer.concat([tables, l2, Buffer.alloc(CLUSTER, 7)]);
}

interface Served {
  readonly files: FileServer;
  readonly server: TestServer;
}

/** The file, from its beginning whatever is asked for. */
async function served(body: Buffer, cuts: number[]): Promise<Served> {
  const files = new FileServer(body);
  files.cuts = cuts;
  const server = await startServer((request, response) => {
    delete request.headers.range;
    files.listener(request, response);
  });
  return { files, server };
}

async function jobOf(url: string, retries: number, more: Partial<ImportLimits> = {}): Promise<Job> {
  const workDir = join(dir, "work");
  return {
    request: {
      ...{ source: url, limits: { ...DEFAULT_IMPORT_LIMITS, ...more }, http: httpOf(), retries },
      ...{ keepPartial: true, workDir },
    },
    work: await WorkDir.open(workDir, url),
    what: "disk",
    onProgress: () => undefined,
    signal: new AbortController().signal,
  };
}

/** What the reader of the whole is given. */
async function kept({ path, handle }: { path: string; handle: FileHandle }): Promise<Buffer> {
  await handle.close();
  return readFile(path);
}

test("what was begun in the spool and went on straight is not taken for what has come", async () => {
  const body = unfitAtItsEnd();
  const { files, server } = await served(body, [20 * KIB]);
  try {
    const url = `${server.url}/disk`;
    const job = await jobOf(url, 2);
    const found = await fetchDisk(job, new URL(url), straight);
    expect(straight.isOff).toBe(true);
    expect((await kept(found)).equals(body)).toBe(true);
    expect(files.asked).toHaveLength(3);
    await job.work.remove();
  } finally {
    await server.close();
  }
});

test("nor by the next run, where this one ended in the middle", async () => {
  const body = unfitAtItsEnd();
  const { files, server } = await served(body, [20 * KIB, 150 * KIB]);
  try {
    const url = `${server.url}/disk`;
    const first = await jobOf(url, 1);
    await expect(fetchDisk(first, new URL(url), straight)).rejects.toMatchObject({
      kind: "unavailable",
    });
    expect(straight.isTaking).toBe(true);
    expect(await first.work.isResumable()).toBe(false);
    await first.work.leave();
    const second = await jobOf(url, 1);
    const found = await fetchDisk(second, new URL(url));
    expect((await kept(found)).equals(body)).toBe(true);
    expect(files.asked).toHaveLength(3);
    await second.work.remove();
  } finally {
    await server.close();
  }
});

test("a file may be larger than what it is unpacked to, and who sets the limit is named", async () => {
  const body = unfitAtItsEnd();
  const { server } = await served(body, []);
  try {
    const url = `${server.url}/disk`;
    const limits = { maxBytes: CLUSTER, maxFetchedBytes: body.length, setBy: "the volume's size" };
    const job = await jobOf(url, 0, limits);
    expect((await kept(await fetchDisk(job, new URL(url)))).equals(body)).toBe(true);
    await job.work.remove();
    const less = await jobOf(url, 0, { ...limits, maxFetchedBytes: body.length - 1 });
    await expect(fetchDisk(less, new URL(url))).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(/the limit is \d+ \(the volume's size\)$/) as string,
    });
    await less.work.remove();
  } finally {
    await server.close();
  }
});

/** Begins a disk of that length and takes its first bytes. */
async function begun(head: Buffer, totalBytes: number, freeBytes: number) {
  const file = await open(join(dir, "spool"), "w+");
  let keeps = 0;
  straight.begin(
    { totalBytes },
    {
      file,
      freeBytes: () => Promise.resolve(freeBytes),
      keep: () => {
        keeps += 1;
        return Promise.resolve();
      },
    },
  );
  await straight.write([head], 0);
  return { file, keeps: () => keeps };
}

test("what has no place is kept as far as the disk that it lies on can spare it", async () => {
  const head = qcow2Bytes();
  const total = head.length + 64 * MIB;
  const { file } = await begun(head, total, 260 * MIB);
  try {
    expect(straight.isTaking).toBe(true);
    let at = head.length;
    const pour = async (): Promise<void> => {
      for (; at < total; at += MIB) await straight.write([Buffer.alloc(MIB, 1)], at);
    };
    await expect(pour()).rejects.toMatchObject({ kind: "exhausted" });
    expect(at).toBeLessThan(16 * MIB);
    expect(straight.isOff).toBe(false);
  } finally {
    await file.close();
  }
});

test.each([
  [16, true],
  [17, false],
])("a first table behind %i MiB is taken straight: %s", async (mib, isTaken) => {
  const head = qcow2Bytes({ l1Offset: BigInt(mib * MIB) });
  const { file, keeps } = await begun(head, 64 * MIB, 1024 * MIB);
  await file.close();
  expect(straight.isTaking).toBe(isTaken);
  expect(keeps()).toBe(isTaken ? 0 : 1);
});

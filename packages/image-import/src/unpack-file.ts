import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { TrineError } from "@trine/base";
import type { Compression, ZipMember } from "@trine/disk-images";
import { runJailed } from "./jail/run-jailed.ts";
import { EXPANSION_FREE_BYTES } from "./limits.ts";
import type { ImportLimits, OnProgress } from "./limits.ts";
import { writeSparse } from "./write-sparse.ts";
import { memberStream, withSum } from "./zip-member.ts";

const MIB = 1024 * 1024;
const MEMORY_BYTES = 1024 * MIB;
const CPU_SECONDS = 6 * 3600;

/** Memory is limited by the programs themselves first: their own words are clearer. */
const PROGRAMS: Record<Compression, { program: string; args: readonly string[] }> = {
  gzip: { program: "/usr/bin/gzip", args: ["-dc"] },
  xz: { program: "/usr/bin/xz", args: ["-dc", "-T1", "--memlimit-decompress=768MiB"] },
  zstd: { program: "/usr/bin/zstd", args: ["-dcq", "--memory=512MB", "--no-progress"] },
  bzip2: { program: "/usr/bin/bzip2", args: ["-dc"] },
};

export interface Unpacking {
  readonly from: FileHandle;
  readonly by: Compression | ZipMember;
  readonly to: FileHandle;
  readonly workDir: string;
  readonly limits: ImportLimits;
  readonly onProgress: OnProgress;
}

/**
 * Unpacks a file into another, with holes for zeros; a child reads the hostile part. Kind `invalid` for data
 * that is damaged, cut off, or grows beyond the limits.
 */
export async function unpackFile(job: Unpacking, signal: AbortSignal): Promise<void> {
  const { by } = job;
  if (typeof by !== "string") {
    await unpackMember(job, by, signal);
    return;
  }
  const { size: packedBytes } = await job.from.stat();
  // The child reads from the descriptor's own position.
  await runUnpacker(by, job.from.fd, job, (output) => receive(output, packedBytes, job), signal);
}

function runUnpacker(
  by: Compression,
  stdin: number | Readable,
  { workDir }: Unpacking,
  use: (output: Readable) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { program, args } = PROGRAMS[by];
  const limits = { memoryBytes: MEMORY_BYTES, cpuSeconds: CPU_SECONDS };
  return runJailed({ program, args, stdin, workDir, ...limits }, use, signal);
}

/** A file of a zip archive: what it has to be long, and its sum, says the archive. */
async function unpackMember(job: Unpacking, member: ZipMember, signal: AbortSignal): Promise<void> {
  const { method, packedBytes, unpackedBytes } = member;
  if (unpackedBytes > job.limits.maxBytes) refuseBomb(unpackedBytes, packedBytes, job.limits);
  const take = (output: Readable): Promise<void> =>
    receive(withSum(output, member), packedBytes, job);
  const packed = memberStream(job.from, member);
  if (method === "stored") await take(packed);
  else await runUnpacker(method === "deflate" ? "gzip" : method, packed, job, take, signal);
}

async function receive(
  output: AsyncIterable<unknown>,
  packedBytes: number,
  job: Unpacking,
): Promise<void> {
  let at = 0;
  for await (const chunk of output as AsyncIterable<Buffer>) {
    refuseBomb(at + chunk.length, packedBytes, job.limits);
    await writeSparse(job.to, chunk, at);
    at += chunk.length;
    job.onProgress({ step: "unpack", done: at });
  }
  await job.to.truncate(at);
}

function refuseBomb(unpacked: number, packed: number, limits: ImportLimits): void {
  if (unpacked > limits.maxBytes) {
    throw new TrineError("invalid", `unpacks to more than the limit of ${limits.maxBytes} bytes`);
  }
  if (unpacked > EXPANSION_FREE_BYTES && unpacked > packed * limits.maxExpansion) {
    const what = `unpacks to more than ${limits.maxExpansion} times its ${packed} bytes`;
    const advice = limits.setBy === undefined ? ", or raise --max-expansion" : "";
    throw new TrineError("invalid", `${what}: a bomb${advice}`);
  }
}

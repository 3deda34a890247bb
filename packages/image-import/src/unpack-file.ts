import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { TrineError, errnoOf } from "@trine/base";
import type { Compression } from "@trine/disk-images";
import { runJailed } from "./jail/run-jailed.ts";
import { EXPANSION_FREE_BYTES } from "./limits.ts";
import type { ImportLimits, OnProgress } from "./limits.ts";

const MIB = 1024 * 1024;
/** Runs of zeros of this size become holes. */
const HOLE_BYTES = 65_536;
const ZEROS = Buffer.alloc(HOLE_BYTES);
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
  readonly by: Compression;
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
  const { size: packedBytes } = await job.from.stat();
  const { program, args } = PROGRAMS[job.by];
  const { workDir } = job;
  // The child reads from the descriptor's own position.
  const stdin = job.from.fd;
  const limits = { memoryBytes: MEMORY_BYTES, cpuSeconds: CPU_SECONDS };
  await runJailed(
    { program, args, stdin, workDir, ...limits },
    (output) => writeSparse(output, packedBytes, job),
    signal,
  );
}

async function writeSparse(output: Readable, packedBytes: number, job: Unpacking): Promise<void> {
  let at = 0;
  for await (const chunk of output as AsyncIterable<Buffer>) {
    refuseBomb(at + chunk.length, packedBytes, job.limits);
    for (let from = 0; from < chunk.length;) {
      // Holes lie at whole places of the file, whatever the pipe cuts.
      const length = Math.min(HOLE_BYTES - (at % HOLE_BYTES), chunk.length - from);
      const part = chunk.subarray(from, from + length);
      if (!part.equals(ZEROS.subarray(0, length))) await writeAll(job.to, part, at);
      at += length;
      from += length;
    }
    job.onProgress({ step: "unpack", done: at });
  }
  await job.to.truncate(at);
}

/** Writes all of a buffer; kind `exhausted` when the file system is full. */
export async function writeAll(to: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length;) {
      const left = bytes.length - done;
      done += (await to.write(bytes, done, left, at + done)).bytesWritten;
    }
  } catch (cause) {
    const isFull = ["ENOSPC", "EDQUOT", "EFBIG"].includes(errnoOf(cause) ?? "");
    if (isFull) throw new TrineError("exhausted", "no space is left on the disk", { cause });
    throw cause;
  }
}

function refuseBomb(unpacked: number, packed: number, limits: ImportLimits): void {
  if (unpacked > limits.maxBytes) {
    throw new TrineError("invalid", `unpacks to more than the limit of ${limits.maxBytes} bytes`);
  }
  if (unpacked > EXPANSION_FREE_BYTES && unpacked > packed * limits.maxExpansion) {
    const what = `unpacks to more than ${limits.maxExpansion} times its ${packed} bytes`;
    throw new TrineError("invalid", `${what}: a bomb, or raise --max-expansion`);
  }
}

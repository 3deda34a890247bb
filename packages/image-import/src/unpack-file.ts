import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { TrineError } from "@trine/base";
import type { Compression } from "@trine/disk-images";
import { runJailed } from "./jail/run-jailed.ts";
import { EXPANSION_FREE_BYTES } from "./limits.ts";
import type { ImportLimits, OnProgress } from "./limits.ts";
import { writeSparse } from "./write-sparse.ts";

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
    (output) => receive(output, packedBytes, job),
    signal,
  );
}

async function receive(output: Readable, packedBytes: number, job: Unpacking): Promise<void> {
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
    throw new TrineError("invalid", `${what}: a bomb, or raise --max-expansion`);
  }
}

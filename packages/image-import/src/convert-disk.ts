import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { ForeignDisk } from "@trine/disk-images";
import { JAIL_UID, jailedFile, runJailed } from "./jail/run-jailed.ts";
import { convertedBytes } from "./limits.ts";
import type { ImportLimits, OnProgress } from "./limits.ts";

const GIB = 1024 ** 3;
const SECTOR = 512;
const QEMU_IMG = "/usr/bin/qemu-img";
const MEMORY_BYTES = 2 * GIB;
const BASE_CPU_SECONDS = 600;
const CPU_SECONDS_PER_GIB = 120;

export type ConvertedDisk =
  | Pick<ForeignDisk, "format" | "virtualSizeBytes" | "offset" | "sizeBytes">
  | { format: "raw" | "qcow2"; virtualSizeBytes: number; offset: 0; sizeBytes: number };

export interface Conversion {
  readonly disk: ConvertedDisk;
  readonly from: { readonly path: string; readonly handle: FileHandle };
  /** An empty file; where it becomes raw, one of the disk's size, or a device. */
  readonly to: { readonly path: string; readonly handle: FileHandle };
  /** Absent: QCOW2. */
  readonly as?: "raw";
  readonly workDir: string;
  readonly limits: ImportLimits;
  readonly onProgress: OnProgress;
}

/**
 * Converts a disk, to QCOW2 where nothing else is said, by qemu-img in a jail that has these two files and no others. The format is ours
 * to say: qemu-img never looks for it, nor for a backing file. Kind `invalid` for a disk that grows beyond the limits.
 */
export async function convertDisk(job: Conversion, signal: AbortSignal): Promise<void> {
  const { uid, gid } = await job.to.handle.stat();
  await job.to.handle.chown(JAIL_UID, JAIL_UID);
  try {
    await convertInJail(job, signal);
  } finally {
    // Whose it was: a volume's directory may give its group to all that is made in it.
    await job.to.handle.chown(uid, gid);
  }
}

async function convertInJail(job: Conversion, signal: AbortSignal): Promise<void> {
  const { virtualSizeBytes } = job.disk;
  const { setBy } = job.limits;
  const files = await Promise.all([
    jailedFile("in", job.from, false),
    jailedFile("out", job.to, true),
  ]);
  await runJailed(
    {
      program: QEMU_IMG,
      args: [
        ...["convert", "-p", ...outputOf(job, files[1].isDevice)],
        `json:${JSON.stringify(source(job.disk))}`,
        "/work/out",
      ],
      files,
      memoryBytes: MEMORY_BYTES,
      cpuSeconds: BASE_CPU_SECONDS + Math.ceil(virtualSizeBytes / GIB) * CPU_SECONDS_PER_GIB,
      fileBytes: job.as === "raw" ? virtualSizeBytes : convertedBytes(job.disk, job.limits),
      ...(setBy !== undefined && { limitSetBy: setBy }),
      workDir: job.workDir,
    },
    (output) => followProgress(output, job),
    signal,
  );
}

/** A new file is zeros already; of a device qemu-img has the zeros written. */
function outputOf({ as }: Conversion, isDevice: boolean): string[] {
  if (as === undefined) return ["-O", "qcow2"];
  return ["-n", ...(isDevice ? [] : ["--target-is-zero"]), "-O", "raw"];
}

/** QEMU's description of the node to read from. */
function source({ format, offset, sizeBytes }: ConvertedDisk): object {
  const file = { driver: "file", filename: "/work/in", locking: "off" };
  // A member of an archive begins at a whole sector, and the archive fills its last one.
  const size = Math.ceil(sizeBytes / SECTOR) * SECTOR;
  const inner = offset === 0 ? file : { driver: "raw", offset, size, file };
  return {
    driver: format,
    ...(["vmdk", "qcow2"].includes(format) && { backing: null }),
    file: inner,
  };
}

/** qemu-img writes `    (12.34/100%)` again and again. */
async function followProgress(output: Readable, job: Conversion): Promise<void> {
  const total = job.disk.virtualSizeBytes;
  output.setEncoding("utf8");
  for await (const text of output as AsyncIterable<string>) {
    const last = [...text.matchAll(/\((\d{1,3}\.\d\d)\/100%\)/g)].at(-1)?.[1];
    if (last === undefined) continue;
    job.onProgress({ step: "convert", done: Math.floor((total * Number(last)) / 100), total });
  }
}

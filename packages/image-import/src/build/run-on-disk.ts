import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { jailedFile, runJailed } from "../jail/run-jailed.ts";
import type { JailedProgram } from "../jail/run-jailed.ts";
import type { WorkDir } from "../work-dir.ts";
import type { Tree } from "./read-tree.ts";

const MEMORY_BYTES = 2048 * 1024 * 1024;
const CPU_SECONDS = 3600;

/** A file of ours that is open. */
export interface OwnFile {
  readonly path: string;
  readonly handle: FileHandle;
}

/** A disk that is being made, and what it is made of. */
export interface Place {
  readonly disk: OwnFile;
  readonly tree: Tree;
  readonly work: WorkDir;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

/** Runs a tool on `/work/disk`, the first file, which it may write, and `/work/in`, the second. */
export async function runOnDisk(
  { work, sizeBytes, signal, tree }: Place,
  name: string,
  args: readonly string[],
  [disk, input]: readonly [OwnFile, OwnFile?],
  withTree = false,
): Promise<void> {
  const files = [await jailedFile("disk", disk, true)];
  if (input !== undefined) files.push(await jailedFile("in", input, false));
  const place = name === "mke2fs" ? "/usr/sbin" : "/usr/bin";
  const jailed: JailedProgram = {
    program: `${place}/${name}`,
    args,
    files,
    ...(withTree && { mounts: [tree.mount], readsAllBehind: tree.filter }),
    memoryBytes: MEMORY_BYTES,
    cpuSeconds: CPU_SECONDS,
    fileBytes: sizeBytes,
    workDir: work.path,
  };
  const ignore = (output: Readable): Promise<void> => {
    output.resume(); // what they say when all is well is nothing to anybody
    return Promise.resolve();
  };
  await runJailed(jailed, ignore, signal);
}

export async function writeParts(
  disk: FileHandle,
  parts: readonly (readonly [Buffer, number])[],
): Promise<void> {
  for (const [bytes, at] of parts) await disk.write(bytes, 0, bytes.length, at);
}

import { rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, kindOf } from "@trine/base";
import { probeDisk } from "@trine/disk-images";
import type { Compression, DiskProbe, ForeignDisk, ZipMember } from "@trine/disk-images";
import { convertDisk } from "./convert-disk.ts";
import type { ConvertedDisk } from "./convert-disk.ts";
import { copyDisk } from "./copy-disk.ts";
import { checkSum } from "./fetch/checksum.ts";
import type { Checksum } from "./fetch/checksum.ts";
import type { HttpSettings } from "./fetch/http-client.ts";
import type { Version } from "./fetch/download.ts";
import { isReadableToAll } from "./jail/readable.ts";
import type { ImportLimits, OnProgress } from "./limits.ts";
import { unpackFile } from "./unpack-file.ts";
import type { WorkDir } from "./work-dir.ts";

/** Where a disk comes from, and what its import may cost. */
export interface SourceRequest {
  /** An http(s) URL or a file's name. */
  readonly source: string;
  /** Which disk of an OVA is meant: its file's name in it. */
  readonly disk?: string;
  readonly checksum?: Checksum;
  readonly limits: ImportLimits;
  readonly http: HttpSettings;
  readonly retries: number;
  /** Told of what is fetched, before it comes; the last one is what has come. */
  readonly onVersion?: (version: Version) => void;
  /** Keeps what was downloaded when the import is interrupted; `never`: neither when it fails in a way that passes. */
  readonly keepPartial: boolean | "never";
  /** Where imports do their work; on the file system of containerd's images an image is moved, not copied. */
  readonly workDir: string;
}

export interface ImportRequest extends SourceRequest {
  /** What the disk was made of, for people, where it is not the source. */
  readonly origin?: string;
  /** A file is given away: it is gone when the import has succeeded. */
  readonly consumes?: boolean;
  readonly reference: string;
  readonly snapshotter: string;
  readonly architecture: string;
}

/** What is at hand: a file, and whether it is ours to change and remove. */
export interface Current {
  readonly handle: FileHandle;
  readonly path: string;
  readonly isOwn: boolean;
}

export interface Job<Request extends SourceRequest = SourceRequest> {
  readonly request: Request;
  readonly work: WorkDir;
  /** The source was compared with its checksum and size before. */
  readonly isChecked?: boolean;
  /** The source as messages name it. */
  readonly what: string;
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
}

/** Looks at what was given, and unpacks it where it is packed. */
export async function unpackedOf(
  job: Job,
  first: Current,
): Promise<{
  current: Current;
  probe: Exclude<DiskProbe, { readonly kind: "packed" | "zipped" }>;
}> {
  const found = await probeSource(job, first);
  if (found.kind !== "packed" && found.kind !== "zipped") return { current: first, probe: found };
  const by = found.kind === "packed" ? found.by : found.member;
  const current = await unpacked(job, first, by);
  try {
    // A name that has been found in a zip archive is none of a disk in what was found.
    const isFound = typeof by !== "string" && by.name === job.request.disk;
    const probe = await (isFound ? probeOf : probeSource)(job, current);
    if (probe.kind !== "packed" && probe.kind !== "zipped") return { current, probe };
    throw new TrineError("invalid", `${job.what} is packed twice: unpack it first`);
  } catch (cause) {
    await current.handle.close();
    throw cause;
  }
}

/** Looks at what was given, or was packed in it. */
function probeSource({ what, request, signal }: Job, { handle }: Current): Promise<DiskProbe> {
  const { limits, disk } = request;
  return probeDisk(handle, what, { ...limits, ...(disk !== undefined && { disk }) }, signal);
}

export function probeOf({ what, request, signal }: Job, { handle }: Current): Promise<DiskProbe> {
  return probeDisk(handle, what, request.limits, signal);
}

/** Compares a disk with what its archive's manifest says of it. */
export async function checkManifest(
  job: Job,
  { handle }: Current,
  disk: ForeignDisk,
): Promise<void> {
  if (disk.digest === undefined) return;
  const part = { handle, offset: disk.offset, sizeBytes: disk.sizeBytes, what: job.what };
  await checkSum(part, disk.digest, job.onProgress, job.signal);
}

/** Unpacks what is packed, and removes that where it is ours. */
async function unpacked(job: Job, from: Current, by: Compression | ZipMember): Promise<Current> {
  const { work, request, onProgress, signal } = job;
  const to = await work.create("unpacked");
  try {
    const { limits } = request;
    await unpackFile(
      { from: from.handle, by, to: to.handle, workDir: work.path, limits, onProgress },
      signal,
    );
  } catch (cause) {
    await to.handle.close();
    throw named(job, cause);
  }
  await discard(from);
  return { ...to, isOwn: true };
}

/** Converts a disk to QCOW2, and removes what it was where that is ours. */
export async function converted(job: Job, from: Current, disk: ConvertedDisk): Promise<Current> {
  const { work, request, onProgress, signal } = job;
  const source = await readableInJail(job, from);
  const to = await work.create("disk.qcow2");
  try {
    const { limits } = request;
    await convertDisk({ disk, from: source, to, workDir: work.path, limits, onProgress }, signal);
  } catch (cause) {
    await to.handle.close();
    throw named(job, cause);
  }
  await discard(source);
  return { ...to, isOwn: true };
}

/** Our own files lie where nobody else gets; a file that only root may read is copied first. */
export async function readableInJail(job: Job, from: Current): Promise<Current> {
  if (from.isOwn) {
    await from.handle.chmod(0o644);
    return from;
  }
  if (await isReadableToAll(from.handle)) return from;
  const path = `${job.work.path}/copy`;
  // One that was killed while it copied has left its part.
  await rm(path, { force: true });
  const handle = await copyDisk(from.handle, path, job.onProgress, job.signal);
  await handle.chmod(0o644);
  return { handle, path, isOwn: true };
}

async function discard({ handle, path, isOwn }: Current): Promise<void> {
  if (!isOwn) return;
  await handle.close();
  await rm(path, { force: true });
}

/** A child's words do not say of what. */
export function named({ what, signal }: Job, cause: unknown): unknown {
  if (signal.aborted || !(cause instanceof TrineError) || kindOf(cause) === "internal")
    return cause;
  const colon = cause.message.startsWith("unpacks") ? "" : ":";
  return new TrineError(cause.kind, `${what}${colon} ${cause.message}`, { cause });
}

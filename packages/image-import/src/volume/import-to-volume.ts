import { TrineError, kindOf, quote } from "@trine/base";
import { openRegularFile } from "@trine/disk-images";
import { checkSum } from "../fetch/checksum.ts";
import { PASSING, fetchDisk } from "../fetch/fetch-disk.ts";
import { parseUrl, shown } from "../fetch/http-client.ts";
import { convertDisk } from "../convert-disk.ts";
import { checkManifest, named, readableInJail, unpackedOf } from "../import-steps.ts";
import type { Current, Job, SourceRequest } from "../import-steps.ts";
import type { OnProgress } from "../limits.ts";
import { WorkDir } from "../work-dir.ts";
import { copyRaw } from "./copy-raw.ts";
import { openVolumeDisk } from "./open-volume-disk.ts";
import { Straight } from "./straight.ts";
import type { VolumeTarget } from "./volume-target.ts";

const MIB = 1024 * 1024;

export interface VolumeRequest extends SourceRequest {
  /** The source is a raw disk, whatever its bytes look like: a guest has written them. */
  readonly isRaw?: boolean;
}

/**
 * Writes a disk from a URL, a file or a device into a volume, raw. Repeatable: what had been fetched is gone on with,
 * what had been written is written anew. Kinds as `importDisk`.
 */
export async function importToVolume(
  target: VolumeTarget,
  request: VolumeRequest,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  if (request.isRaw === true) {
    await cloneRaw(target, request.source, onProgress, signal);
    return;
  }
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(request.source)
    ? parseUrl(request.source)
    : undefined;
  const what = url === undefined ? `disk image ${quote(request.source)}` : shown(url);
  const work = await WorkDir.open(request.workDir, url?.href ?? request.source);
  const job = { request, work, what, onProgress, signal };
  try {
    const straight = url === undefined ? undefined : straightTo(target, job);
    const first = url === undefined ? await openGiven(job) : await fetchDisk(job, url, straight);
    if (straight?.isPlaced === true) await first.handle.close();
    else await writeDisk(job, first, target);
    await work.remove();
  } catch (cause) {
    const mayGoOn = signal.aborted || PASSING.includes(kindOf(cause));
    if (mayGoOn && (await work.isResumable())) await work.keepDownload();
    else await work.remove();
    throw cause;
  }
}

/** A device holds other bytes where a disk has none: all of it is written when the disk is known. */
function straightTo(target: VolumeTarget, { request, what }: Job): Straight | undefined {
  if (target.isDevice || request.disk !== undefined) return undefined;
  return new Straight(target, request.limits, what);
}

/** An empty disk; what a device had at its beginning is no one's partition table any more. */
export async function makeBlank(target: VolumeTarget): Promise<void> {
  if (!target.isDevice) return;
  const bytes = Math.min(MIB, target.maxBytes);
  await target.handle.write(Buffer.alloc(bytes), 0, bytes, 0);
}

async function openGiven({ request, what, onProgress, signal }: Job): Promise<Current> {
  const { source, limits, checksum } = request;
  const handle = await openRegularFile(source);
  const { size: sizeBytes } = await handle.stat();
  const { maxFetchedBytes: most = limits.maxBytes, setBy } = limits;
  if (sizeBytes > most) {
    await handle.close();
    const why = `has ${sizeBytes} bytes; the limit is ${most}${setBy === undefined ? "" : ` (${setBy})`}`;
    throw new TrineError("invalid", `${what} ${why}`);
  }
  if (checksum !== undefined) {
    await checkSum({ handle, offset: 0, sizeBytes, what }, checksum, onProgress, signal);
  }
  return { handle, path: source, isOwn: false };
}

async function writeDisk(job: Job, first: Current, target: VolumeTarget): Promise<void> {
  let current = first;
  try {
    const unpacked = await unpackedOf(job, first);
    current = unpacked.current;
    const { probe } = unpacked;
    if (probe.kind === "foreign") await checkManifest(job, current, probe);
    const disk =
      probe.kind === "foreign"
        ? probe
        : { ...probe.info, offset: 0 as const, sizeBytes: probe.info.fileSizeBytes };
    await target.begin(disk.virtualSizeBytes);
    const { onProgress, signal, what } = job;
    if (disk.format === "raw") {
      const from = { handle: current.handle, bytes: disk.sizeBytes, what };
      await copyRaw(from, target, onProgress, signal);
      return;
    }
    current = await readableInJail(job, current);
    const { limits } = job.request;
    const workDir = job.work.path;
    await convertDisk(
      { disk, from: current, to: target, as: "raw", workDir, limits, onProgress },
      signal,
    ).catch((cause: unknown) => {
      throw named(job, cause);
    });
  } finally {
    await current.handle.close();
    if (first !== current) await first.handle.close();
  }
}

/** From another volume of the pod. */
async function cloneRaw(
  target: VolumeTarget,
  source: string,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const disk = await openVolumeDisk(source);
  await using handle = disk.handle;
  await target.begin(disk.bytes);
  await copyRaw({ handle, bytes: disk.bytes, what: source }, target, onProgress, signal);
}

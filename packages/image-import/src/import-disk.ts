import { open, realpath } from "node:fs/promises";
import { TrineError, kindOf, quote } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import { listDisks, openRegularFile, probeDisk } from "@trine/disk-images";
import type { DiskProbe, ImageInfo, ProbeOptions } from "@trine/disk-images";
import type { ConvertedDisk } from "./convert-disk.ts";
import { checkManifest, converted, probeOf, unpackedOf } from "./import-steps.ts";
import type { Current, ImportRequest, Job as AnyJob } from "./import-steps.ts";
import { checkSum } from "./fetch/checksum.ts";
import { PASSING, fetchDisk } from "./fetch/fetch-disk.ts";
import { parseUrl, shown } from "./fetch/http-client.ts";
import type { OnProgress } from "./limits.ts";
import { dropLease, storeImage, storeTogether } from "./store/store-image.ts";
import type { MakeImage, StoredImage } from "./store/store-image.ts";
import { WorkDir } from "./work-dir.ts";

const MIB = 1024 * 1024;
/** A raw disk with more holes than data is smaller as QCOW2, in the store and on the way to a registry. */
const SPARSE_FROM_BYTES = 64 * MIB;
const BLOCK_BYTES = 512;

type Job = AnyJob<ImportRequest>;

export interface ImportedImage extends StoredImage {
  readonly info: ImageInfo;
}

/** Whether a source is fetched, not opened. */
function isUrl(source: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source);
}

/**
 * Brings a disk into containerd's store. Each step ends with its input removed, so that no more than two
 * copies are on disk: packed and unpacked, foreign and converted, file and layer, layer and snapshot.
 */
export async function importDisk(
  store: ImageStore,
  request: ImportRequest,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<ImportedImage> {
  return withSource(store, request, { onProgress, signal }, (job, current) =>
    importCurrent(job, current, (disk) => storeImage(store, disk, signal)),
  );
}

/**
 * Brings all disks of an OVA into containerd's store, an image each, named by `referenceOf` its file's name; all of them or
 * none, unless it is killed while it gives the names: a repeat gives the others. What is fetched is fetched once.
 */
export async function importAllDisks(
  store: ImageStore,
  request: ImportRequest,
  referenceOf: (disk: string) => string,
  how: How,
): Promise<ImportedImage[]> {
  return withSource(store, request, how, async (job, current) => {
    try {
      if (!current.isOwn) await checkLocal(job, current);
      // What lies in our own directory nobody else gets at; the jail of each disk does.
      else await current.handle.chmod(0o644);
      const names = await listDisks(current.handle, job.what, job.signal);
      const each = names.map((disk) => ({ ...request, disk, reference: referenceOf(disk) }));
      const makeAll = async (make: MakeImage): Promise<ImportedImage[]> => {
        const images: ImportedImage[] = [];
        for (const own of each) {
          // Each reads the same file, which goes when all is done.
          const lent = { ...current, isOwn: false };
          images.push(await importCurrent({ ...job, request: own, isChecked: true }, lent, make));
        }
        return images;
      };
      return await storeTogether(store, job.work.key, makeAll, job.signal);
    } finally {
      if (current.isOwn) await current.handle.close();
    }
  });
}

interface How {
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
}

/** Opens or fetches a source, in a directory that is removed when all has been made of it. */
async function withSource<T>(
  store: ImageStore,
  request: ImportRequest,
  { onProgress, signal }: How,
  use: (job: Job, current: Current) => Promise<T>,
): Promise<T> {
  const url = isUrl(request.source) ? parseUrl(request.source) : undefined;
  const what = url === undefined ? `disk image ${quote(request.source)}` : shown(url);
  // A name that cannot be opened is told before anything is made.
  const local =
    url === undefined ? await openLocal(request.source, request.consumes === true) : undefined;
  const source = url?.href ?? `file:${local?.path ?? ""}`;
  const work = await WorkDir.open(request.workDir, source);
  const job = { request, work, what, onProgress, signal };
  try {
    // Before the download: a store that is not there is better told now.
    await dropLease(store, work.key);
    const current = local ?? (await fetchDisk(job, url ?? parseUrl(source)));
    const made = await use(job, current);
    await work.remove();
    return made;
  } catch (cause) {
    await letGo(job, cause);
    throw cause;
  } finally {
    await local?.handle.close();
  }
}

/** Refuses at once a source that no import could be made of, before any service is asked. */
export async function checkSource(
  source: string,
  limits: ProbeOptions & { readonly allDisks?: boolean },
  signal: AbortSignal,
): Promise<void> {
  if (isUrl(source)) {
    parseUrl(source);
    return;
  }
  const { handle } = await openLocal(source);
  try {
    const what = `disk image ${quote(source)}`;
    if (limits.allDisks === true) await listDisks(handle, what, signal);
    else await probeDisk(handle, what, limits, signal);
  } finally {
    await handle.close();
  }
}

async function openLocal(name: string, isOwn = false): Promise<Current> {
  const handle = isOwn ? await open(name, "r+") : await openRegularFile(name);
  return { handle, path: await realpath(name), isOwn };
}

async function letGo({ work, request, signal }: Job, cause: unknown): Promise<void> {
  const mayGoOn = signal.aborted
    ? request.keepPartial === true
    : request.keepPartial !== "never" && PASSING.includes(kindOf(cause));
  if (mayGoOn && (await work.isResumable())) await work.keepDownload();
  else await work.remove();
}

async function importCurrent(job: Job, first: Current, make: MakeImage): Promise<ImportedImage> {
  const { request, onProgress } = job;
  let current = first;
  try {
    if (!first.isOwn && job.isChecked !== true) await checkLocal(job, first);
    let probe;
    ({ current, probe } = await unpackedOf(job, current));
    const disk = toConvert(probe, await isSparse(current));
    if (disk !== undefined) {
      if (probe.kind === "foreign") await checkManifest(job, current, probe);
      current = await converted(job, current, disk);
      probe = await probeOf(job, current);
    }
    if (probe.kind !== "native") throw new TrineError("internal", `${job.what}: is ${probe.kind}`);
    const { info } = probe;
    // Only with the download itself a later run can go on.
    const isKept = request.keepPartial === true && current === first;
    const stored = await make({
      handle: current.handle,
      info,
      ...(current.isOwn && { own: { path: current.path, isKept } }),
      reference: request.reference,
      labels: {
        "trine.dev/machine": "true",
        "trine.dev/source": request.origin ?? labelOf(request.source),
      },
      architecture: request.architecture,
      snapshotter: request.snapshotter,
      key: job.work.key,
      onProgress,
    });
    return { ...stored, info };
  } finally {
    if (current.isOwn) await current.handle.close();
  }
}

async function checkLocal(job: Job, { handle }: Current): Promise<void> {
  const { checksum, limits } = job.request;
  const { size: sizeBytes } = await handle.stat();
  if (sizeBytes > limits.maxBytes) {
    throw new TrineError(
      "invalid",
      `${job.what} has ${sizeBytes} bytes; the limit is ${limits.maxBytes} (--max-size)`,
    );
  }
  if (checksum === undefined) return;
  const part = { handle, offset: 0, sizeBytes, what: job.what };
  await checkSum(part, checksum, job.onProgress, job.signal);
}

function toConvert(probe: DiskProbe, sparse: boolean): ConvertedDisk | undefined {
  if (probe.kind === "foreign") return probe;
  if (probe.kind !== "native" || probe.info.format !== "raw" || !sparse) return undefined;
  if (probe.info.bootable === "iso9660") return undefined; // a disc is read as it is
  const { virtualSizeBytes, fileSizeBytes: sizeBytes } = probe.info;
  return { format: "raw", virtualSizeBytes, offset: 0, sizeBytes };
}

async function isSparse({ handle }: Current): Promise<boolean> {
  const { size, blocks } = await handle.stat();
  return size >= SPARSE_FROM_BYTES && blocks * BLOCK_BYTES < size / 2;
}

/** Where it came from, for people: no query, which may be a key. */
function labelOf(source: string): string {
  return (isUrl(source) ? shown(parseUrl(source)) : source).slice(0, 1024);
}

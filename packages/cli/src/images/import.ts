import { TrineError, kindOf, pollUntil } from "@trine/base";
import { checkSource, importAllDisks, importDisk, parseChecksum } from "@trine/image-import";
import type { ImportProgress } from "@trine/image-import";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { Progress, sizeText } from "../output/progress.ts";
import type { ProgressForm } from "../output/progress.ts";
import { httpSettings } from "./http-settings.ts";
import type { HttpFlags } from "./http-settings.ts";
import { defaultImageName, diskImageName, parseImageName } from "./image-name.ts";
import { withStore } from "./open-store.ts";
import type { StoreFlags } from "./open-store.ts";
import { importsDir } from "./places.ts";

const CRI_NAMESPACE = "k8s.io";
const KNOWN_MS = 30_000;

export interface ImportFlags extends HttpFlags {
  readonly name?: string;
  readonly checksum?: string;
  readonly disk?: string;
  readonly allDisks: boolean;
  readonly maxSize: number;
  readonly maxExpansion: number;
  readonly retries: number;
  readonly timeout?: number;
  readonly keepPartial: boolean;
  readonly snapshotter: string;
  readonly progress: ProgressForm;
  readonly containerd: string;
  readonly namespace: string;
}

/** Steps of an import as people read them. */
export const IMPORT_STEPS: Record<ImportProgress["step"], string> = {
  download: "downloading",
  read: "reading",
  unpack: "unpacking",
  check: "checking",
  convert: "converting",
  store: "storing",
  register: "registering",
};

/** `trine image import URL|FILE`: a disk as an image of containerd's store, usable at once. */
export async function importImageCommand(
  io: Io,
  source: string,
  flags: ImportFlags,
): Promise<void> {
  const reference =
    flags.name === undefined ? defaultImageName(source, flags.disk) : parseImageName(flags.name);
  const checksum = flags.checksum === undefined ? undefined : parseChecksum(flags.checksum);
  const progress = new Progress(io, flags.progress);
  const time = flags.timeout === undefined ? undefined : AbortSignal.timeout(flags.timeout);
  const signal = time === undefined ? io.signal : AbortSignal.any([io.signal, time]);
  const limits = { maxBytes: flags.maxSize, maxExpansion: flags.maxExpansion, checkTables: true };
  const which = flags.disk === undefined ? {} : { disk: flags.disk };
  await checkSource(source, { ...limits, ...which, allDisks: flags.allDisks }, signal);
  const http = await httpSettings(io, flags);
  try {
    const request = {
      ...{ source, reference, http, limits, ...which, ...(checksum && { checksum }) },
      ...{ retries: flags.retries, keepPartial: flags.keepPartial },
      ...{ workDir: importsDir(io), snapshotter: flags.snapshotter, architecture: "amd64" },
    };
    const onProgress = ({ step, done, total }: ImportProgress): void => {
      progress.amount(reference, IMPORT_STEPS[step], done, total);
    };
    const images = await withStore(io, flags, async (store) =>
      flags.allDisks
        ? importAllDisks(store, request, namesOfDisks(reference), { onProgress, signal })
        : [await importDisk(store, request, onProgress, signal)],
    );
    for (const image of images) await untilKnown(io, flags, image.reference);
    progress.end();
    for (const { reference: name, info } of images) {
      io.stdout.write(`${name}\n`);
      const size = sizeText(info.virtualSizeBytes);
      io.stderr.write(`imported ${info.format} disk, virtual size ${size}\n`);
    }
  } catch (cause) {
    progress.end();
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    if (time?.aborted === true) {
      const what = `not done within ${flags.timeout ?? 0} ms: last step: ${progress.last}`;
      throw new TrineError("timeout", what, { cause });
    }
    throw new TrineError(kindOf(cause), oneLine(cause), { cause });
  }
}

/** Each disk's own; kind `invalid` for a second that would have the name of one before it. */
function namesOfDisks(reference: string): (disk: string) => string {
  const taken = new Set<string>();
  return (disk) => {
    const name = diskImageName(reference, disk);
    if (!taken.has(name)) {
      taken.add(name);
      return name;
    }
    throw new TrineError("invalid", `two disks would be called ${name}: import them by --disk`);
  };
}

/**
 * CRI hears of new images by containerd's events; a containerd without CRI has nobody to tell. An abort ends the
 * waiting alone: the image is there.
 */
export async function untilKnown(io: Io, flags: StoreFlags, image: string): Promise<void> {
  if (flags.namespace !== CRI_NAMESPACE) return;
  const { signal, onRequest } = io;
  await withCri({ containerd: flags.containerd, signal, onRequest }, async (cri) => {
    await pollUntil(`CRI knows ${image}`, { ms: KNOWN_MS, signal: io.signal }, async () => {
      try {
        return (await cri.images.imageStatus({ image: { image } })).image;
      } catch (cause) {
        if (kindOf(cause) === "unimplemented") return true;
        throw cause;
      }
    });
  }).catch((cause: unknown) => {
    if (!io.signal.aborted) throw cause;
  });
}

export function oneLine(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.trim().replaceAll(/\s*\n\s*/g, "; ");
}

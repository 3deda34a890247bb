import { TrineError, kindOf, pollUntil } from "@trine/base";
import { checkSource, importDisk, parseChecksum } from "@trine/image-import";
import type { ImportProgress } from "@trine/image-import";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { Progress, sizeText } from "../output/progress.ts";
import type { ProgressForm } from "../output/progress.ts";
import { httpSettings } from "./http-settings.ts";
import type { HttpFlags } from "./http-settings.ts";
import { defaultImageName, parseImageName } from "./image-name.ts";
import { withStore } from "./open-store.ts";
import type { StoreFlags } from "./open-store.ts";
import { importsDir } from "./places.ts";

const CRI_NAMESPACE = "k8s.io";
const KNOWN_MS = 30_000;

export interface ImportFlags extends HttpFlags {
  readonly name?: string;
  readonly checksum?: string;
  readonly disk?: string;
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
  await checkSource(source, { ...limits, ...which }, signal);
  const http = await httpSettings(io, flags);
  try {
    const { info } = await withStore(io, flags, (store) =>
      importDisk(
        store,
        {
          source,
          reference,
          http,
          limits,
          ...(checksum && { checksum }),
          ...which,
          retries: flags.retries,
          keepPartial: flags.keepPartial,
          workDir: importsDir(io),
          snapshotter: flags.snapshotter,
          architecture: "amd64",
        },
        ({ step, done, total }) => {
          progress.amount(reference, IMPORT_STEPS[step], done, total);
        },
        signal,
      ),
    );
    await untilKnown(io, flags, reference);
    progress.end();
    io.stdout.write(`${reference}\n`);
    io.stderr.write(
      `imported ${info.format} disk, virtual size ${sizeText(info.virtualSizeBytes)}\n`,
    );
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

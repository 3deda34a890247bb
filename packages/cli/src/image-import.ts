import { PassThrough } from "node:stream";
import { kindOf, TrineError } from "@trine/base";
import { importImage } from "@trine/containerd-client";
import { inspectImage, writeImageLayout } from "@trine/disk-images";
import { defaultImageName, parseImageName } from "./image-name.ts";
import type { Io } from "./io.ts";

const MIB = 1024 * 1024;

export interface ImportFlags {
  readonly name?: string;
  readonly containerd: string;
  readonly namespace: string;
}

/** `trine image import FILE`: the disk as an image of containerd's store; nothing is copied before. */
export async function importDisk(io: Io, file: string, flags: ImportFlags): Promise<void> {
  const reference = flags.name === undefined ? defaultImageName(file) : parseImageName(flags.name);
  const info = await inspectImage(file, {}, io.signal);

  const archive = new PassThrough();
  const packing = writeImageLayout({ file, info, reference }, archive, io.signal);
  const importing = importImage(archive, {
    socket: flags.containerd,
    namespace: flags.namespace,
    signal: io.signal,
  });
  // A side that fails closes the stream, and the other ends too instead of waiting for ever.
  const both = [packing, importing].map((side) =>
    side.catch((cause: unknown) => {
      archive.destroy();
      throw cause;
    }),
  );
  const [packed, imported] = await Promise.allSettled(both);
  if (io.signal.aborted) throw new TrineError("canceled", "interrupted");
  const cause = reasonOf(packed, imported);
  if (cause !== undefined) throw new TrineError(kindOf(cause), oneLine(cause), { cause });
  io.stdout.write(`${reference}\n`);
  io.stderr.write(
    `imported ${info.format} disk, virtual size ${Math.ceil(info.virtualSizeBytes / MIB)} MiB\n`,
  );
}

/** Why it failed: a broken pipe on one side is only the echo of what happened on the other. */
function reasonOf(packed: Settled, imported: Settled): unknown {
  const ofPacking = packed?.status === "rejected" ? (packed.reason as unknown) : undefined;
  const ofImport = imported?.status === "rejected" ? (imported.reason as unknown) : undefined;
  const isEcho = ofImport !== undefined && kindOf(ofPacking) === "internal";
  return isEcho ? ofImport : (ofPacking ?? ofImport);
}

type Settled = PromiseSettledResult<unknown> | undefined;

function oneLine(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.trim().replaceAll(/\s*\n\s*/g, "; ");
}

import { TrineError } from "@trine/base";
import type { OnProgress } from "../limits.ts";
import { HOLE_BYTES, isZeros, writeAll } from "../write-sparse.ts";
import { openVolumeDisk } from "./open-volume-disk.ts";
import { RawRuns, endOfRuns, headOfRun, startOfRuns } from "./raw-runs.ts";
import type { VolumeTarget } from "./volume-target.ts";

const CHUNK_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** The disk of a volume as a stream that `takeVolume` takes; zeros are not sent. */
export async function* giveVolume(path: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { handle, bytes: total } = await openVolumeDisk(path);
  try {
    yield startOfRuns(total);
    for (let at = 0; at < total;) {
      signal.throwIfAborted();
      // A buffer that was given may still be on its way.
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, total - at));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new TrineError("conflict", `${path} became shorter`);
      for (const { from, to } of filledParts(buffer.subarray(0, bytesRead))) {
        yield headOfRun(at + from, to - from);
        yield buffer.subarray(from, to);
      }
      at += bytesRead;
    }
    yield endOfRuns(total);
  } finally {
    await handle.close();
  }
}

/** Without the holes, at whole places of the buffer. */
function* filledParts(bytes: Buffer): Generator<{ readonly from: number; readonly to: number }> {
  let from = 0;
  for (let at = 0; at < bytes.length; at += HOLE_BYTES) {
    const end = Math.min(at + HOLE_BYTES, bytes.length);
    if (!isZeros(bytes, at, end)) continue;
    if (at > from) yield { from, to: at };
    from = end;
  }
  if (bytes.length > from) yield { from, to: bytes.length };
}

/**
 * Writes what `giveVolume` gives. Kinds: `invalid` for a disk that is larger than the volume, `malformed` for what is none, `canceled` for one
 * that is cut off.
 */
export async function takeVolume(
  target: VolumeTarget,
  chunks: AsyncIterable<Buffer>,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const runs = new RawRuns();
  let total: number | undefined;
  let written = 0;
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    for (const { at, bytes } of runs.read(chunk)) {
      total ??= await begun(target, runs);
      await fillGap(target, written, at, signal);
      await writeAll(target.handle, bytes, at);
      written = at + bytes.length;
      onProgress({ step: "store", done: written, total });
    }
    if (runs.isOver) break;
  }
  if (!runs.isOver) throw new TrineError("canceled", `the copy was cut off after ${written} bytes`);
  total ??= await begun(target, runs);
  await fillGap(target, written, total, signal);
}

async function begun(target: VolumeTarget, { totalBytes = 0 }: RawRuns): Promise<number> {
  await target.begin(totalBytes);
  return totalBytes;
}

/** A new file has zeros where nothing was written; a device has what was there before. */
async function fillGap(
  { isDevice, handle }: VolumeTarget,
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<void> {
  for (let at = from; isDevice && at < to;) {
    signal.throwIfAborted();
    const bytes = ZEROS.subarray(0, Math.min(ZEROS.length, to - at));
    await writeAll(handle, bytes, at);
    at += bytes.length;
  }
}

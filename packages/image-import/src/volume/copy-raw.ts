import type { FileHandle } from "node:fs/promises";
import { TrineError } from "@trine/base";
import type { OnProgress } from "../limits.ts";
import { writeAll, writeSparse } from "../write-sparse.ts";
import type { VolumeTarget } from "./volume-target.ts";

const CHUNK_BYTES = 4 * 1024 * 1024;

/** Copies the bytes of a disk that is raw; with holes for zeros where a file is written, which is new. */
export async function copyRaw(
  from: { readonly handle: FileHandle; readonly bytes: number; readonly what: string },
  to: VolumeTarget,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const { handle, bytes: total, what } = from;
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = 0; at < total;) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(CHUNK_BYTES, total - at), at);
    // A file's last sector may be cut short: the rest of it is zeros.
    if (bytesRead === 0) throw new TrineError("conflict", `${what} became shorter`);
    const chunk = buffer.subarray(0, bytesRead);
    await (to.isDevice ? writeAll : writeSparse)(to.handle, chunk, at);
    at += bytesRead;
    onProgress({ step: "store", done: at, total });
  }
}

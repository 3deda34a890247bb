import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { bytesOfDevice } from "./bytes-of-device.ts";

/** Of a volume that a guest or pods have had: a file or a device, to be read. Kind `invalid` for what is neither. */
export async function openVolumeDisk(
  path: string,
): Promise<{ readonly handle: FileHandle; readonly bytes: number }> {
  // They may have put anything there: no link is followed, no pipe is waited for.
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return { handle, bytes: await sizeOf(handle, path) };
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

async function sizeOf(handle: FileHandle, path: string): Promise<number> {
  const stats = await handle.stat();
  if (stats.isFile()) return stats.size;
  if (!stats.isBlockDevice()) throw new TrineError("invalid", `${path} is no disk`);
  return bytesOfDevice(path);
}

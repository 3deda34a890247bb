import { once } from "node:events";
import type { Writable } from "node:stream";

/** Writes, and waits where the reader is slower. */
export async function writeOut(to: Writable, data: string | Uint8Array): Promise<void> {
  if (!to.write(data)) await once(to, "drain");
}

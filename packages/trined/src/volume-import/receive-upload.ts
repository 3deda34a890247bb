import { open, rm, statfs } from "node:fs/promises";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { UploadFrames } from "@trine/node-door";
import { SILENT_MS, eachComer, heard, leave, say } from "./comers.ts";
import type { Says } from "./says.ts";

const FILE = "upload";
/** Of the node's disk, for others: kubelet evicts pods where there is nothing left. */
const SPARED_BYTES = 256 * 1024 * 1024;

interface Receiving {
  readonly says: Says;
  readonly workDir: string;
  /** Most that may be sent. */
  readonly maxBytes: number;
  readonly silentMs?: number;
  readonly signal: AbortSignal;
}

/**
 * Waits for an upload that becomes a disk: one at a time, as often as it takes. What was cut off is thrown away; what is
 * no disk is refused, and the next one is waited for.
 */
export function receiveUpload(
  receiving: Receiving,
  use: (file: string) => Promise<void>,
): Promise<void> {
  return eachComer(receiving, (socket) => receive(socket, receiving, use));
}

/** Undefined when it has become a disk, else why not. */
async function receive(
  socket: Socket,
  receiving: Receiving,
  use: (file: string) => Promise<void>,
): Promise<string | undefined> {
  const { workDir, signal } = receiving;
  const file = join(workDir, FILE);
  const stop = (): void => void socket.destroy();
  signal.addEventListener("abort", stop, { once: true });
  socket.on("error", stop);
  try {
    await keep(socket, file, receiving);
    say(socket, { received: true });
    await use(file);
    say(socket, { done: true });
    leave(socket);
    return undefined;
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    say(socket, { kind: kindOf(cause), message: messageOf(cause).slice(0, 1_000) });
    leave(socket);
    return messageOf(cause);
  } finally {
    signal.removeEventListener("abort", stop);
    await rm(file, { force: true });
  }
}

async function keep(
  socket: Socket,
  file: string,
  { maxBytes, silentMs = SILENT_MS }: Receiving,
): Promise<void> {
  await using handle = await open(file, "w", 0o600);
  const { bavail, bsize } = await statfs(dirname(file));
  const roomBytes = bavail * bsize - SPARED_BYTES;
  const frames = new UploadFrames();
  let bytes = 0;
  for await (const chunk of heard(socket, silentMs)) {
    for (const part of frames.read(chunk)) {
      bytes += part.length;
      if (bytes > maxBytes) throw new TrineError("invalid", `more than ${maxBytes} bytes`);
      if (bytes > roomBytes) throw noRoom(roomBytes);
      for (let at = 0; at < part.length;) at += (await handle.write(part, at)).bytesWritten;
    }
    if (frames.isOver) return;
  }
  throw new TrineError("invalid", `the upload was cut off after ${bytes} bytes`);
}

function noRoom(roomBytes: number): TrineError {
  const room = `the node's disk has room for ${Math.max(0, roomBytes)} bytes`;
  return new TrineError("exhausted", `${room}: free some there, or send the disk packed`);
}

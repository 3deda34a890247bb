import { on, once } from "node:events";
import { chmod, open, rm, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { dirname, join } from "node:path";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { UploadFrames } from "@trine/node-door";
import type { Says } from "./says.ts";

const SOCKET = "upload.sock";
const FILE = "upload";
const LEAVE_MS = 10_000;
/** A client that says nothing for so long has gone, whether its node could say so or not. */
const SILENT_MS = 120_000;
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
export async function receiveUpload(
  receiving: Receiving,
  use: (file: string) => Promise<void>,
): Promise<void> {
  const { says, signal } = receiving;
  const path = join(says.dir, SOCKET);
  await rm(path, { force: true });
  const server = createServer({ allowHalfOpen: true });
  server.maxConnections = 1;
  server.listen(path);
  await once(server, "listening", { signal });
  await chmod(path, 0o600);
  const comers = on(server, "connection", { signal });
  try {
    says.waiting();
    for await (const [socket] of comers as AsyncIterable<[Socket]>) {
      const failed = await receive(socket, receiving, use);
      if (failed === undefined) return;
      says.waiting(failed);
    }
  } finally {
    await end(server);
  }
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
  let silent: NodeJS.Timeout | undefined;
  const wait = (): void => {
    silent = setTimeout(() => {
      socket.destroy(new TrineError("timeout", `nothing came for ${silentMs / 1000} s`));
    }, silentMs);
  };
  try {
    wait();
    // Whoever sent it is answered on the same socket.
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      // While our own disk is waited for, it is not the client that says nothing.
      clearTimeout(silent);
      for (const part of frames.read(chunk as Buffer)) {
        bytes += part.length;
        if (bytes > maxBytes) throw new TrineError("invalid", `more than ${maxBytes} bytes`);
        if (bytes > roomBytes) throw noRoom(roomBytes);
        for (let at = 0; at < part.length;) at += (await handle.write(part, at)).bytesWritten;
      }
      if (frames.isOver) return;
      wait();
    }
  } finally {
    clearTimeout(silent);
  }
  throw new TrineError("invalid", `the upload was cut off after ${bytes} bytes`);
}

function noRoom(roomBytes: number): TrineError {
  const room = `the node's disk has room for ${Math.max(0, roomBytes)} bytes`;
  return new TrineError("exhausted", `${room}: free some there, or send the disk packed`);
}

/** What is still on its way is taken and thrown away: unread, it would take our last word with it. */
function leave(socket: Socket): void {
  socket.end();
  socket.resume();
  const late = setTimeout(() => socket.destroy(), LEAVE_MS);
  socket.once("close", () => {
    clearTimeout(late);
  });
}

function say(socket: Socket, word: object): void {
  if (socket.writable) socket.write(`${JSON.stringify(word)}\n`);
}

function end(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}

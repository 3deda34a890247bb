// Who comes to an import by the node's door: one at a time, at a socket in the directory that is the node's.
import { on, once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { Says } from "./says.ts";

const SOCKET = "upload.sock";
const LEAVE_MS = 10_000;
/** Who says nothing for so long has gone, whether the node could say so or not. */
export const SILENT_MS = 120_000;

/** Waits for the next one until `serve` answers undefined; else it answers why another one is waited for, "" for no reason. */
export async function eachComer(
  { says, signal }: { readonly says: Says; readonly signal: AbortSignal },
  serve: (socket: Socket) => Promise<string | undefined>,
): Promise<void> {
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
      const why = await serve(socket);
      if (why === undefined) return;
      says.waiting(why);
    }
  } finally {
    await end(server);
  }
}

/** What comes of a socket, which is left open: whoever sent it is answered on it. */
export async function* heard(socket: Socket, silentMs: number): AsyncGenerator<Buffer> {
  let silent: NodeJS.Timeout | undefined;
  const wait = (): void => {
    silent = setTimeout(() => {
      socket.destroy(new TrineError("timeout", `nothing came for ${silentMs / 1000} s`));
    }, silentMs);
  };
  try {
    wait();
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      // While our own disk is waited for, it is not the other side that says nothing.
      clearTimeout(silent);
      yield chunk as Buffer;
      wait();
    }
  } finally {
    clearTimeout(silent);
  }
}

export function say(socket: Socket, word: object): void {
  if (socket.writable) socket.write(`${JSON.stringify(word)}\n`);
}

/** What is still on its way is taken and thrown away: unread, it would take our last word with it. */
export function leave(socket: Socket): void {
  socket.end();
  socket.resume();
  const late = setTimeout(() => socket.destroy(), LEAVE_MS);
  socket.once("close", () => {
    clearTimeout(late);
  });
}

function end(server: Server): Promise<unknown> {
  return new Promise((resolve) => server.close(resolve));
}

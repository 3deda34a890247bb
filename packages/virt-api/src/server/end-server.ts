import { once } from "node:events";
import type { Server as HttpServer } from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { Duplex } from "node:stream";

type Server = HttpServer | HttpsServer;

/** What is being answered has so long; Kubernetes gives a pod 30 s in all. */
const GRACE_MS = 5_000;

interface Ending {
  /** Connections that are no longer the server's own. */
  readonly upgraded?: Iterable<Duplex>;
  readonly graceMs?: number;
}

/** Takes no more connections, ends those that are not used, and the others when they are answered, or after some seconds. */
export async function endServer(
  server: Server,
  { upgraded = [], graceMs = GRACE_MS }: Ending = {},
): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  // Again and again: one whose handshake goes on is none of them yet.
  const timer = setInterval(() => {
    server.closeAllConnections();
    for (const socket of upgraded) socket.destroy();
  }, graceMs);
  try {
    await closed;
  } finally {
    clearInterval(timer);
  }
}

/** Each answer ends its connection then: kept alive, it would hold the server for as long as it lives. */
export function isEnding(server: Server): boolean {
  return !server.listening;
}

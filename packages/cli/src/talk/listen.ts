import { once } from "node:events";
import type { Server } from "node:net";
import { TrineError, errnoOf, messageOf } from "@trine/base";

/** Answers the port, also where 0 asked for any. */
export async function listen(server: Server, port: number, host: string): Promise<number> {
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    const code = errnoOf(cause);
    const kind = code === "EADDRINUSE" ? "conflict" : code === "EACCES" ? "forbidden" : "invalid";
    throw new TrineError(kind, `port ${port} on ${host}: ${messageOf(cause)}`, { cause });
  }
  const bound = server.address();
  return typeof bound === "object" && bound !== null ? bound.port : port;
}

import { once } from "node:events";
import type { Server } from "node:https";
import { isIP } from "node:net";
import { TrineError } from "@trine/base";

/** Resolves once it takes connections at `HOST:PORT`; `:PORT` is all addresses, port 0 a free one. */
export async function listenAt(server: Server, listen: string, what: string): Promise<void> {
  const colon = listen.lastIndexOf(":");
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  const port = Number(listen.slice(colon + 1));
  if (colon < 0 || !Number.isInteger(port) || (host !== "" && isIP(host) === 0)) {
    throw new TrineError("invalid", `${what} cannot listen at ${listen}: it is no ADDRESS:PORT`);
  }
  server.listen({ port, ...(host !== "" && { host }) });
  await once(server, "listening");
}

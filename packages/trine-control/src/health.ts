import { once } from "node:events";
import { type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { TrineError } from "@trine/base";

interface HealthDeps {
  readonly listen: { readonly host?: string; readonly port: number };
  /** Undefined: ready; else why not. */
  readonly notReady: () => string | undefined;
}

export interface Health {
  readonly port: number;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const REQUEST_MS = 10_000;

/** `/livez` and `/readyz` over HTTP: nothing in them is secret. */
export async function serveHealth(deps: HealthDeps): Promise<Health> {
  const limits = { headersTimeout: REQUEST_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 8192 };
  const server = createServer(limits, (request, response) => {
    answer(deps, request.url ?? "", response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(deps.listen);
  try {
    await once(server, "listening");
  } catch (cause) {
    const { host = "", port } = deps.listen;
    throw new TrineError("unavailable", `cannot listen at ${host}:${port} for health checks`, {
      cause,
    });
  }
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(deps: HealthDeps, url: string, response: ServerResponse): void {
  const [path] = url.split("?", 1);
  const say = (code: number, text: string): void => {
    response.writeHead(code, { "content-type": "text/plain; version=0.0.4" });
    response.end(text);
  };
  switch (path) {
    case "/livez":
      say(200, "ok\n");
      return;
    case "/readyz": {
      const why = deps.notReady();
      say(why === undefined ? 200 : 503, `${why ?? "ok"}\n`);
      return;
    }
    default:
      say(404, "not found\n");
  }
}

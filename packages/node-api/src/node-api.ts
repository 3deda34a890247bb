import { chmod, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { messageOf } from "@trine/base";
import type { Engine } from "@trine/engine";
import type { NodeMetrics } from "./node-metrics.ts";

/** Above this the event loop is too late to serve pods (decision 6). */
const READY_LOOP_DELAY_MS = 1_000;

export interface NodeApiDeps {
  readonly engine: Engine;
  readonly metrics: NodeMetrics;
  readonly version: string;
  /** Undefined = ready; else why not. */
  readonly notReady: () => string | undefined;
}

type Route = (deps: NodeApiDeps, request: IncomingMessage) => Promise<Answer>;

interface Answer {
  readonly status: number;
  readonly type: "application/json" | "text/plain";
  readonly body: string;
}

/** `/livez`, `/readyz`, `/metrics` and `/v1/pods` on a unix socket for root (mode 0600). */
export async function serveNodeApi(deps: NodeApiDeps, path: string): Promise<Server> {
  const server = createServer((request, response) => {
    void answer(deps, request, response);
  });
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  return server;
}

const ROUTES: Readonly<Record<string, Route>> = {
  "/livez": () => Promise.resolve(text(200, "ok")),
  "/readyz": (deps) => Promise.resolve(readiness(deps)),
  "/metrics": async (deps) => text(200, await deps.metrics.render()),
  "/v1/version": (deps) => Promise.resolve(json({ version: deps.version })),
  "/v1/pods": async (deps) => json({ items: await deps.engine.list() }),
};

async function answer(
  deps: NodeApiDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // Null for a request target that is no URL: nothing is there.
  const path = URL.parse(request.url ?? "/", "http://node")?.pathname ?? "";
  const route = request.method === "GET" ? ROUTES[path] : undefined;
  const { status, type, body } =
    route === undefined
      ? text(404, `no ${request.method ?? ""} ${path}\n`)
      : await route(deps, request).catch((cause: unknown) => text(500, messageOf(cause)));
  response.writeHead(status, { "content-type": type }).end(body);
}

function readiness(deps: NodeApiDeps): Answer {
  const delayMs = deps.metrics.loopDelayMs();
  if (delayMs > READY_LOOP_DELAY_MS)
    return text(503, `event loop is ${delayMs.toFixed()} ms late\n`);
  const why = deps.notReady();
  return why === undefined ? text(200, "ok") : text(503, `${why}\n`);
}

function text(status: number, body: string): Answer {
  return { status, type: "text/plain", body };
}

function json(value: unknown): Answer {
  return { status: 200, type: "application/json", body: JSON.stringify(value) };
}

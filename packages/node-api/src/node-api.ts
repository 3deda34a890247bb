import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import type { Engine } from "@trine/engine";
import type { NodeMetrics } from "./node-metrics.ts";
import type { OptionalParts } from "./optional-parts.ts";

/** Above this the event loop is too late to serve pods (decision 6). */
const READY_LOOP_DELAY_MS = 1_000;
const MAX_CONNECTIONS = 64;
/** Requests are a line and a few headers. */
const REQUEST_MS = 10_000;

export interface NodeApiDeps {
  readonly engine: Pick<Engine, "list" | "report"> & {
    readonly templates: Pick<Engine["templates"], "list">;
    readonly spares: Pick<Engine["spares"], "list">;
  };
  readonly metrics: Pick<NodeMetrics, "render" | "loopDelayMs">;
  readonly version: string;
  /** Undefined = ready; else why not. */
  readonly notReady: () => string | undefined;
  /** Absent: none of them is there. */
  readonly parts?: () => OptionalParts;
}

type Route = (deps: NodeApiDeps, query: URLSearchParams) => Promise<Answer> | Answer;

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/**
 * `/livez`, `/readyz`, `/metrics`, `/v1/version`, `/v1/pods`, `/v1/machine-report?sandbox=ID`, `/v1/templates`, `/v1/spares`, `/v1/gateway`, `/v1/routes` and `/v1/lxcfs` on a unix socket for root (mode 0600).
 * A file of that name is replaced: the caller makes sure that it is nobody's.
 */
export async function serveNodeApi(deps: NodeApiDeps, path: string): Promise<Server> {
  const limits = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS };
  const server = createServer(limits, (request, response) => {
    void answer(deps, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // The socket is made within listen(): nobody else can connect for one moment.
    const before = process.umask(0o177);
    server.listen(path, resolve);
    process.umask(before);
  });
  return server;
}

const ROUTES: Readonly<Record<string, Route>> = {
  "/livez": () => text(200, "ok\n"),
  "/readyz": readiness,
  "/metrics": async ({ metrics }) => ({
    status: 200,
    type: "text/plain; version=0.0.4; charset=utf-8",
    body: await metrics.render(),
  }),
  "/v1/version": ({ version }) => json({ version }),
  "/v1/pods": async ({ engine }) => json({ items: await engine.list() }),
  "/v1/machine-report": machineReport,
  "/v1/templates": async ({ engine }) => json({ items: await engine.templates.list() }),
  "/v1/spares": async ({ engine }) => json({ items: await engine.spares.list() }),
  "/v1/gateway": ({ parts }) => json({ items: listOf(parts?.().gateway) }),
  "/v1/routes": ({ parts }) => json({ items: parts?.().routes ?? [] }),
  "/v1/lxcfs": ({ parts }) => json({ items: listOf(parts?.().lxcfs) }),
};

async function answer(
  deps: NodeApiDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, type, body } = await route(deps, request);
  const allow = status === 405 ? { allow: "GET" } : {};
  response.writeHead(status, { "content-type": type, ...allow }).end(body);
}

async function route(deps: NodeApiDeps, request: IncomingMessage): Promise<Answer> {
  const [path = "", query] = (request.url ?? "").split("?");
  const handler = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (handler === undefined) return text(404, `no ${path}; there are ${PATHS}\n`);
  if (request.method !== "GET") return text(405, `${path} answers GET only\n`);
  try {
    return await handler(deps, new URLSearchParams(query));
  } catch (cause) {
    return text(500, `${messageOf(cause)}\n`);
  }
}

/** Of errors that are no failure of the daemon. */
const STATUS: Readonly<Partial<Record<ErrorKind, number>>> = {
  notFound: 404,
  wrongState: 409,
  timeout: 504,
};

const PATHS = Object.keys(ROUTES).join(", ");

async function machineReport({ engine }: NodeApiDeps, query: URLSearchParams): Promise<Answer> {
  const sandbox = query.get("sandbox");
  if (sandbox === null || sandbox === "") return text(400, "of which pod? ?sandbox=ID\n");
  try {
    return json(await engine.report(sandbox));
  } catch (cause) {
    const status = STATUS[kindOf(cause)];
    if (status === undefined) throw cause;
    return text(status, `${messageOf(cause)}\n`);
  }
}

function readiness(deps: NodeApiDeps): Answer {
  const delayMs = deps.metrics.loopDelayMs();
  if (delayMs > READY_LOOP_DELAY_MS) {
    return text(503, `the event loop was ${delayMs.toFixed()} ms late within the last seconds\n`);
  }
  const why = deps.notReady();
  return why === undefined ? text(200, "ok\n") : text(503, `${why}\n`);
}

function listOf<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}

function text(status: number, body: string): Answer {
  return { status, type: "text/plain; charset=utf-8", body };
}

function json(value: unknown): Answer {
  return { status: 200, type: "application/json", body: `${JSON.stringify(value)}\n` };
}

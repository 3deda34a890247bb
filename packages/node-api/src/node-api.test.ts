import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { request } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { TrineError, pollUntil } from "@trine/base";
import type { Engine } from "@trine/engine";
import { afterEach, beforeEach, expect, test } from "vitest";
import { serveNodeApi } from "./node-api.ts";
import { NodeMetrics } from "./node-metrics.ts";

let dir: string;
let socketPath: string;
let server: Server;
let metrics: NodeMetrics;
let notReady: string | undefined;
let list: () => Promise<never[]>;
let report: (sandbox: string) => Promise<never>;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-api-"));
  socketPath = join(dir, "api.sock");
  notReady = undefined;
  list = () => Promise.resolve([]);
  const templates = { list: () => Promise.resolve([]), making: 0 };
  const spares = {
    list: () =>
      Promise.resolve([{ cpus: 1, memoryBytes: 2 ** 28, ready: 1, wanted: 2, heldBytes: 7 }]),
    claims: { used: 3, missed: 4, refused: 0 },
  };
  const engine = {
    report: (sandbox: string) => report(sandbox),
    list: () => list(),
    figures: () => Promise.resolve([]),
    templates,
    spares,
  };
  metrics = new NodeMetrics(engine as unknown as Engine, "n1", 500);
  server = await serveNodeApi(
    { engine, metrics, version: "1.2.3", notReady: () => notReady },
    socketPath,
  );
});

afterEach(async () => {
  metrics.close();
  server.close();
  server.closeAllConnections();
  await rm(dir, { recursive: true });
});

async function get(
  path: string,
  method = "GET",
): Promise<{ status: number; body: string; type: string }> {
  const sent = request({ socketPath, path, method });
  sent.end();
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  const type = answer.headers["content-type"] ?? "";
  return { status: answer.statusCode ?? 0, body: await text(answer), type };
}

test("answers on a socket that only its owner may connect to, and replaces a stale one", async () => {
  expect((await stat(socketPath)).mode & 0o777).toBe(0o600);
  expect(await get("/livez")).toMatchObject({ status: 200, body: "ok\n" });
  expect(await get("/v1/version")).toMatchObject({ body: '{"version":"1.2.3"}\n' });
  expect(await get("/v1/pods")).toMatchObject({
    status: 200,
    type: "application/json",
    body: '{"items":[]}\n',
  });
  expect(await get("/v1/pods?x=y")).toMatchObject({ status: 200 });
});

test("readiness says why not", async () => {
  notReady = "adopting";
  expect(await get("/readyz")).toMatchObject({ status: 503, body: "adopting\n" });
  expect(await get("/livez")).toMatchObject({ status: 200 });
  notReady = undefined;
  expect(await get("/readyz")).toMatchObject({ status: 200 });
});

test("an event loop blocked above a second makes it unready, for a while", async () => {
  await get("/readyz");
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_300);
  const late = await pollUntil("the delay is seen", { ms: 10_000, everyMs: 1 }, async () => {
    const answer = await get("/readyz");
    return answer.status === 503 ? answer : undefined;
  });
  expect(late.body).toMatch(/^the event loop was 1[0-9]{3} ms late/);
  const { body } = await get("/metrics");
  expect(Number(/^trine_event_loop_worst_delay_seconds (\S+)$/m.exec(body)?.[1])).toBeGreaterThan(
    1,
  );
  await pollUntil("two windows pass", { ms: 20_000 }, async () =>
    (await get("/readyz")).status === 200 ? true : undefined,
  );
}, 30_000);

test("spares are told apart from pods, with what they hold and what became of claims", async () => {
  const { body } = await get("/metrics");
  const size = 'cpus="1",memory_bytes="268435456"';
  expect(body).toContain(`\ntrine_spares{${size},state="ready"} 1\n`);
  expect(body).toContain(`\ntrine_spares{${size},state="wanted"} 2\n`);
  expect(body).toContain(`\ntrine_spare_held_bytes{${size}} 7\n`);
  expect(body).toContain('\ntrine_spare_claims_total{result="used"} 3\n');
  expect(body).toContain('\ntrine_spare_claims_total{result="missed"} 4\n');
  expect(JSON.parse((await get("/v1/spares")).body)).toMatchObject({ items: [{ ready: 1 }] });
  expect(JSON.parse((await get("/v1/pods")).body)).toEqual({ items: [] });
});

test("a machine's report is of the pod that is asked for, and says why there is none", async () => {
  const answers = { "query-status": { status: "running" } };
  report = (sandbox) => Promise.resolve({ answers: { sandbox, ...answers } } as never);
  expect(JSON.parse((await get("/v1/machine-report?sandbox=abc")).body)).toEqual({
    answers: { sandbox: "abc", ...answers },
  });
  expect(await get("/v1/machine-report")).toMatchObject({ status: 400 });
  expect(await get("/v1/machine-report?sandbox=")).toMatchObject({ status: 400 });
  for (const [kind, status] of [
    ["notFound", 404],
    ["wrongState", 409],
    ["timeout", 504],
    ["internal", 500],
  ] as const) {
    report = () => Promise.reject(new TrineError(kind, `it is ${kind}`));
    const answer = await get("/v1/machine-report?sandbox=abc");
    expect(answer).toMatchObject({ status, body: `it is ${kind}\n` });
  }
});

test("metrics count machines by state", async () => {
  const pods = [{ machine: { state: "running" } }, { machine: { state: "running" } }, {}];
  list = () => Promise.resolve(pods as never[]);
  const { body, type } = await get("/metrics");
  expect(type).toContain("version=0.0.4");
  expect(body).toContain('\ntrine_machines{state="running"} 2\n');
  expect(body).toContain("\ntrined_process_resident_memory_bytes ");
});

test.each([
  ["/", "GET", 404],
  ["/v1/pods/", "GET", 404],
  ["/toString", "GET", 404],
  ["//", "GET", 404],
  ["/livez", "POST", 405],
  ["/v1/pods", "DELETE", 405],
])("%s %s is %i", async (path, method, status) => {
  expect((await get(path, method)).status).toBe(status);
  expect((await get("/livez")).status).toBe(200);
});

test("a failure within is the answer 500, and the next request is served", async () => {
  list = () => Promise.reject(new Error("shim gone"));
  expect(await get("/v1/pods")).toMatchObject({ status: 500, body: "shim gone\n" });
  expect((await get("/livez")).status).toBe(200);
});

test("what is no HTTP harms nobody", async () => {
  const socket = connect(socketPath);
  socket.write("\0\0nonsense\r\n\r\n");
  expect(await text(socket)).toContain("400 Bad Request");
  expect((await get("/livez")).status).toBe(200);
});

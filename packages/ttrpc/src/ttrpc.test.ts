import { getEventListeners, once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { TrineError } from "@trine/base";
import { Task } from "@trine/proto/task";
import { RequestSchema, ResponseSchema } from "@trine/proto/ttrpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FrameDecoder, REQUEST, encodeFrame } from "./frame.ts";
import { TtrpcClient, TtrpcServer } from "./index.ts";
import type { CallContext, ServiceHandlers } from "./index.ts";
import { Random } from "./testing.ts";

let dir: string;
let path: string;
let closers: (() => Promise<unknown> | undefined)[] = [];
let reported: { error: unknown; call: object }[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-ttrpc-"));
  path = join(dir, "s.sock");
  closers = [];
  reported = [];
});
afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await rm(dir, { recursive: true });
});

async function serve(
  handlers: ServiceHandlers<typeof Task>,
  options: { abortWhenClientGone?: boolean } = {},
): Promise<TtrpcServer> {
  const server = new TtrpcServer({
    ...options,
    onError: (error, call) => reported.push({ error, call }),
  });
  server.register(Task, handlers);
  await server.listen(path);
  closers.push(() => server.close());
  return server;
}

async function connect(): Promise<TtrpcClient> {
  const client = await TtrpcClient.connect(`unix://${path}`);
  closers.push(() => {
    client.close();
    return client.closed;
  });
  return client;
}

/** A handler that waits for its abort, and what its callers can wait for. */
function waiting(): {
  handler: (request: unknown, context: CallContext) => Promise<never>;
  started: Promise<undefined>;
  aborted: Promise<unknown>;
} {
  const started = Promise.withResolvers<undefined>();
  const aborted = Promise.withResolvers<unknown>();
  return {
    started: started.promise,
    aborted: aborted.promise,
    handler: (_request, { signal }) =>
      new Promise((_, reject) => {
        started.resolve(undefined);
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason);
          reject(signal.reason as Error);
        });
      }),
  };
}

test("carries request, answer, metadata and deadline", async () => {
  const contexts: CallContext[] = [];
  await serve({
    state: (request, context) => {
      contexts.push(context);
      return Promise.resolve({ id: request.id, pid: 42 });
    },
  });
  const client = await connect();
  const answer = await client
    .service(Task)
    .state({ id: "c1" }, { timeoutMs: 60_000, metadata: { "Trine-Sandbox": "s1" } });
  expect(answer).toMatchObject({ id: "c1", pid: 42 });
  expect(contexts[0]?.metadata.get("trine-sandbox")).toBe("s1");
  expect(contexts[0]?.deadline?.getTime()).toBeGreaterThan(Date.now());
});

test("answers calls in the order they end", async () => {
  const first = Promise.withResolvers<{ pid: number }>();
  await serve({
    start: ({ id }) => (id === "slow" ? first.promise : Promise.resolve({ pid: 2 })),
  });
  const task = (await connect()).service(Task);
  const slow = task.start({ id: "slow" });
  expect((await task.start({ id: "fast" })).pid).toBe(2);
  first.resolve({ pid: 1 });
  expect((await slow).pid).toBe(1);
});

test("gives the kind and words of a planned failure", async () => {
  await serve({ kill: () => Promise.reject(new TrineError("notFound", "no task c1")) });
  const task = (await connect()).service(Task);
  await expect(task.kill({ id: "c1" })).rejects.toMatchObject({
    kind: "notFound",
    message: "containerd.task.v2.Task/Kill: no task c1",
  });
  expect(reported).toEqual([]);
});

test("tells the detail of an unplanned failure to the listener only", async () => {
  await serve({
    kill: () => {
      throw new TypeError("secret detail");
    },
  });
  const task = (await connect()).service(Task);
  await expect(task.kill({ id: "c1" })).rejects.toMatchObject({
    kind: "internal",
    message: "containerd.task.v2.Task/Kill: internal error",
  });
  expect(reported[0]?.call).toMatchObject({ service: "containerd.task.v2.Task", method: "Kill" });
  expect(reported[0]?.error).toBeInstanceOf(TypeError);
});

test("a method without a handler is unimplemented", async () => {
  await serve({});
  const task = (await connect()).service(Task);
  await expect(task.pause({ id: "c1" })).rejects.toMatchObject({ kind: "unimplemented" });
});

test("the server keeps the client's deadline and aborts the handler", async () => {
  const wait = waiting();
  await serve({ wait: wait.handler });
  const socket = createConnection(path);
  closers.push(() => Promise.resolve(socket.destroy()));
  const request = create(RequestSchema, {
    service: "containerd.task.v2.Task",
    method: "Wait",
    timeoutNano: 5_000_000n,
  });
  socket.write(encodeFrame(1, REQUEST, toBinary(RequestSchema, request)));
  const [bytes] = (await once(socket, "data")) as [Buffer];
  const [frame] = new FrameDecoder().push(bytes);
  const response = fromBinary(ResponseSchema, frame?.body ?? new Uint8Array());
  expect(response.status?.code).toBe(4);
  expect(await wait.aborted).toMatchObject({ kind: "timeout" });
});

test("the client gives up at its own deadline and at its signal", async () => {
  const wait = waiting();
  await serve({ wait: wait.handler });
  const client = await connect();
  const task = client.service(Task);
  await expect(task.wait({}, { timeoutMs: 5 })).rejects.toMatchObject({ kind: "timeout" });
  const abort = new AbortController();
  const given = task.wait({}, { signal: abort.signal });
  abort.abort(new Error("left"));
  await expect(given).rejects.toMatchObject({ kind: "canceled" });
  await expect(task.wait({}, { signal: abort.signal })).rejects.toMatchObject({
    kind: "canceled",
  });
  expect(client.pendingCalls).toBe(0);
});

test("a client that is gone aborts its calls", async () => {
  const wait = waiting();
  await serve({ wait: wait.handler });
  const client = await connect();
  const call = client.service(Task).wait({});
  await wait.started;
  client.close();
  await expect(call).rejects.toMatchObject({ kind: "unavailable" });
  expect(await wait.aborted).toMatchObject({ kind: "canceled" });
});

test("a call outlives its client when the server says so", async () => {
  const release = Promise.withResolvers<undefined>();
  const ended = Promise.withResolvers<boolean>();
  const started = Promise.withResolvers<undefined>();
  await serve(
    {
      wait: async (_request, { signal }) => {
        started.resolve(undefined);
        await release.promise;
        ended.resolve(signal.aborted);
        return {};
      },
    },
    { abortWhenClientGone: false },
  );
  const client = await connect();
  const call = client.service(Task).wait({});
  await started.promise;
  client.close();
  await expect(call).rejects.toMatchObject({ kind: "unavailable" });
  release.resolve(undefined);
  expect(await ended.promise).toBe(false);
});

test("a closing server leaves calls unanswered and aborts their handlers", async () => {
  const wait = waiting();
  const server = await serve({ wait: wait.handler });
  const client = await connect();
  const call = client.service(Task).wait({});
  await wait.started;
  await server.close();
  await expect(call).rejects.toMatchObject({ kind: "unavailable" });
  await client.closed;
  await expect(client.service(Task).wait({})).rejects.toMatchObject({ kind: "unavailable" });
});

test("malformed bytes end that connection only", async () => {
  await serve({ start: () => Promise.resolve({ pid: 1 }) });
  const task = (await connect()).service(Task);
  const bad = [
    Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0]), // a body of 4 GiB
    encodeFrame(2, REQUEST, new Uint8Array()), // an even stream
  ];
  for (const bytes of bad) {
    const socket = createConnection(path);
    socket.write(bytes);
    await once(socket, "close");
    expect((await task.start({})).pid).toBe(1);
  }
  expect(reported.map(({ error }) => (error as TrineError).kind)).toEqual([
    "malformed",
    "malformed",
  ]);
});

test("unknown kinds of frames are ignored, unreadable requests answered as invalid", async () => {
  await serve({});
  const socket = createConnection(path);
  closers.push(() => Promise.resolve(socket.destroy()));
  socket.write(encodeFrame(1, 9, Uint8Array.of(1, 2, 3)));
  socket.write(encodeFrame(1, REQUEST, Uint8Array.of(0xff, 0xff, 0xff)));
  const [bytes] = (await once(socket, "data")) as [Buffer];
  const [frame] = new FrameDecoder().push(bytes);
  const response = fromBinary(ResponseSchema, frame?.body ?? new Uint8Array());
  expect(frame?.stream).toBe(1);
  expect(response.status?.code).toBe(3);
});

test("random connections never disturb the server", async () => {
  await serve({ start: () => Promise.resolve({ pid: 1 }) });
  const task = (await connect()).service(Task);
  const random = new Random(0xabcd);
  for (let round = 0; round < 50; round += 1) {
    const socket = createConnection(path);
    socket.on("error", () => undefined); // the server may be gone before all was written
    socket.end(random.bytes(20 + random.below(200)));
    socket.resume();
    await once(socket, "close");
  }
  expect((await task.start({})).pid).toBe(1);
});

test("more calls than a connection may have are refused, the others go on", async () => {
  const release = Promise.withResolvers<{ pid: number }>();
  await serve({ start: () => release.promise });
  const client = await connect();
  const task = client.service(Task);
  const calls = Array.from({ length: 1024 }, () => task.start({}));
  await expect(task.start({})).rejects.toMatchObject({ kind: "exhausted" });
  release.resolve({ pid: 1 });
  expect((await Promise.all(calls)).every(({ pid }) => pid === 1)).toBe(true);
});

test("messages over the limit are refused on both sides and the connection lives", async () => {
  const huge = "x".repeat(5 << 20);
  await serve({
    state: ({ id }) => Promise.resolve({ id: id === "huge" ? huge : id }),
  });
  const task = (await connect()).service(Task);
  await expect(task.state({ id: huge })).rejects.toMatchObject({ kind: "exhausted" });
  await expect(task.state({ id: "huge" })).rejects.toMatchObject({ kind: "exhausted" });
  expect((await task.state({ id: "small" })).id).toBe("small");
});

test("a client that reads nothing is throttled, then served when it reads again", async () => {
  const answer = "y".repeat(1 << 20);
  await serve({ state: () => Promise.resolve({ id: answer }) });
  const socket = createConnection(path);
  closers.push(() => Promise.resolve(socket.destroy()));
  const request = create(RequestSchema, { service: Task.typeName, method: "State" });
  const body = toBinary(RequestSchema, request);
  for (let i = 0; i < 40; i += 1) socket.write(encodeFrame(2 * i + 1, REQUEST, body));
  const decoder = new FrameDecoder();
  let frames = 0;
  for await (const bytes of socket as AsyncIterable<Buffer>) {
    for (const frame of decoder.push(bytes)) {
      expect(frame.body.length).toBeGreaterThan(1 << 20);
      frames += 1;
    }
    if (frames === 40) break;
  }
  expect(frames).toBe(40);
});

test("ten thousand calls leave nothing behind", async () => {
  const server = await serve({ start: ({ id }) => Promise.resolve({ pid: Number(id) }) });
  const client = await connect();
  const task = client.service(Task);
  const { signal } = new AbortController();
  let sum = 0;
  for (let round = 0; round < 100; round += 1) {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        task.start({ id: String(i) }, { signal, timeoutMs: 60_000 }),
      ),
    );
    for (const { pid } of answers) sum += pid;
  }
  expect(sum).toBe(100 * 4950);
  expect(client.pendingCalls).toBe(0);
  expect(server.pendingCalls).toBe(0);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("a stale socket is replaced, a live one is not", async () => {
  const server = await serve({});
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const second = new TtrpcServer({ onError: () => undefined });
  await expect(second.listen(path)).rejects.toMatchObject({ kind: "alreadyExists" });
  await server.close();

  await leaveStaleSocket(path);
  await second.listen(path);
  closers.push(() => second.close());
  await connect();
});

test("a file that is not a socket is left alone", async () => {
  await writeFile(path, "data");
  const server = new TtrpcServer({ onError: () => undefined });
  await expect(server.listen(path)).rejects.toMatchObject({ kind: "wrongState" });
});

test("nobody there is unavailable, an abort while connecting canceled", async () => {
  await expect(TtrpcClient.connect(path)).rejects.toMatchObject({ kind: "unavailable" });
  const signal = AbortSignal.abort();
  await expect(TtrpcClient.connect(path, { signal })).rejects.toMatchObject({ kind: "canceled" });
});

test("a server that sends garbage ends the connection, not the program", async () => {
  const server = createServer((socket) => socket.write(Buffer.alloc(64, 0xff)));
  server.listen(path);
  await once(server, "listening");
  closers.push(() => Promise.resolve(server.close()));
  const client = await TtrpcClient.connect(path);
  await client.closed;
  expect(client.pendingCalls).toBe(0);
});

/** As a killed process leaves it: the file stays, nobody listens. */
async function leaveStaleSocket(at: string): Promise<void> {
  const { execFile } = await import("node:child_process");
  const script = `require("net").createServer().listen(${JSON.stringify(at)}, () => process.kill(process.pid, "SIGKILL"))`;
  await new Promise<void>((resolve) => {
    execFile(process.execPath, ["-e", script], () => {
      resolve();
    });
  });
}

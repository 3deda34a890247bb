import { getEventListeners, once } from "node:events";
import { createConnection } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { TrineError } from "@trine/base";
import { Task } from "@trine/proto/task";
import { RequestSchema, ResponseSchema } from "@trine/proto/ttrpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FrameDecoder, REQUEST, encodeFrame } from "./frame.ts";
import { TtrpcClient } from "./index.ts";
import type { CallContext } from "./index.ts";
import { Bench } from "./testing.ts";

let bench: Bench;

beforeEach(async () => {
  bench = await Bench.open();
});
afterEach(async () => {
  await bench.close();
});

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
  await bench.serve({
    state: (request, context) => {
      contexts.push(context);
      return Promise.resolve({ id: request.id, pid: 42 });
    },
  });
  const client = await bench.connect();
  const answer = await client
    .service(Task)
    .state({ id: "c1" }, { timeoutMs: 60_000, metadata: { "Trine-Sandbox": "s1" } });
  expect(answer).toMatchObject({ id: "c1", pid: 42 });
  expect(contexts[0]?.metadata.get("trine-sandbox")).toBe("s1");
  expect(contexts[0]?.deadline?.getTime()).toBeGreaterThan(Date.now());
});

test("answers calls in the order they end", async () => {
  const first = Promise.withResolvers<{ pid: number }>();
  await bench.serve({
    start: ({ id }) => (id === "slow" ? first.promise : Promise.resolve({ pid: 2 })),
  });
  const task = (await bench.connect()).service(Task);
  const slow = task.start({ id: "slow" });
  expect((await task.start({ id: "fast" })).pid).toBe(2);
  first.resolve({ pid: 1 });
  expect((await slow).pid).toBe(1);
});

test("gives the kind and words of a planned failure", async () => {
  await bench.serve({ kill: () => Promise.reject(new TrineError("notFound", "no task c1")) });
  const task = (await bench.connect()).service(Task);
  await expect(task.kill({ id: "c1" })).rejects.toMatchObject({
    kind: "notFound",
    message: "containerd.task.v2.Task/Kill: no task c1",
  });
  expect(bench.reported).toEqual([]);
});

test("tells the detail of an unplanned failure to the listener only", async () => {
  await bench.serve({
    kill: () => {
      throw new TypeError("secret detail");
    },
  });
  const task = (await bench.connect()).service(Task);
  await expect(task.kill({ id: "c1" })).rejects.toMatchObject({
    kind: "internal",
    message: "containerd.task.v2.Task/Kill: internal error",
  });
  expect(bench.reported[0]?.call).toMatchObject({
    service: "containerd.task.v2.Task",
    method: "Kill",
  });
  expect(bench.reported[0]?.error).toBeInstanceOf(TypeError);
});

test("a method without a handler is unimplemented", async () => {
  await bench.serve({});
  const task = (await bench.connect()).service(Task);
  await expect(task.pause({ id: "c1" })).rejects.toMatchObject({ kind: "unimplemented" });
});

test("the server keeps the client's deadline and aborts the handler", async () => {
  const wait = waiting();
  await bench.serve({ wait: wait.handler });
  const socket = createConnection(bench.path);
  bench.defer(() => socket.destroy());
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
  await bench.serve({ wait: wait.handler });
  const client = await bench.connect();
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
  await bench.serve({ wait: wait.handler });
  const client = await bench.connect();
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
  await bench.serve(
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
  const client = await bench.connect();
  const call = client.service(Task).wait({});
  await started.promise;
  client.close();
  await expect(call).rejects.toMatchObject({ kind: "unavailable" });
  release.resolve(undefined);
  expect(await ended.promise).toBe(false);
});

test("a closing server leaves calls unanswered and aborts their handlers", async () => {
  const wait = waiting();
  const server = await bench.serve({ wait: wait.handler });
  const client = await bench.connect();
  const call = client.service(Task).wait({});
  await wait.started;
  await server.close();
  await expect(call).rejects.toMatchObject({ kind: "unavailable" });
  await client.closed;
  await expect(client.service(Task).wait({})).rejects.toMatchObject({ kind: "unavailable" });
});

test("ten thousand calls leave nothing behind", async () => {
  const server = await bench.serve({ start: ({ id }) => Promise.resolve({ pid: Number(id) }) });
  const client = await bench.connect();
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

test("nobody there is unavailable, an abort while connecting canceled", async () => {
  await expect(TtrpcClient.connect(bench.path)).rejects.toMatchObject({ kind: "unavailable" });
  const signal = AbortSignal.abort();
  await expect(TtrpcClient.connect(bench.path, { signal })).rejects.toMatchObject({
    kind: "canceled",
  });
});

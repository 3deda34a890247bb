import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { TrineError } from "@trine/base";
import { Task } from "@trine/proto/task";
import { RequestSchema, ResponseSchema } from "@trine/proto/ttrpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FrameDecoder, REQUEST, encodeFrame } from "./frame.ts";
import { TtrpcClient } from "./index.ts";
import { Bench, Random } from "./testing.ts";

let bench: Bench;

beforeEach(async () => {
  bench = await Bench.open();
});
afterEach(async () => {
  await bench.close();
});

test("malformed bytes end that connection only", async () => {
  await bench.serve({ start: () => Promise.resolve({ pid: 1 }) });
  const task = (await bench.connect()).service(Task);
  const bad = [
    Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0]), // a body of 4 GiB
    encodeFrame(2, REQUEST, new Uint8Array()), // an even stream
  ];
  for (const bytes of bad) {
    const socket = createConnection(bench.path);
    socket.write(bytes);
    await once(socket, "close");
    expect((await task.start({})).pid).toBe(1);
  }
  expect(bench.reported.map(({ error }) => (error as TrineError).kind)).toEqual([
    "malformed",
    "malformed",
  ]);
});

test("unknown kinds of frames are ignored, unreadable requests answered as invalid", async () => {
  await bench.serve({});
  const socket = createConnection(bench.path);
  bench.defer(() => socket.destroy());
  socket.write(encodeFrame(1, 9, Uint8Array.of(1, 2, 3)));
  socket.write(encodeFrame(1, REQUEST, Uint8Array.of(0xff, 0xff, 0xff)));
  const [bytes] = (await once(socket, "data")) as [Buffer];
  const [frame] = new FrameDecoder().push(bytes);
  const response = fromBinary(ResponseSchema, frame?.body ?? new Uint8Array());
  expect(frame?.stream).toBe(1);
  expect(response.status?.code).toBe(3);
});

test("random connections never disturb the server", async () => {
  await bench.serve({ start: () => Promise.resolve({ pid: 1 }) });
  const task = (await bench.connect()).service(Task);
  const random = new Random(0xabcd);
  for (let round = 0; round < 50; round += 1) {
    const socket = createConnection(bench.path);
    socket.on("error", () => undefined); // the server may be gone before all was written
    socket.end(random.bytes(20 + random.below(200)));
    socket.resume();
    await once(socket, "close");
  }
  expect((await task.start({})).pid).toBe(1);
});

test("more calls than a connection may have are refused, the others go on", async () => {
  const release = Promise.withResolvers<{ pid: number }>();
  await bench.serve({ start: () => release.promise });
  const client = await bench.connect();
  const task = client.service(Task);
  const calls = Array.from({ length: 1024 }, () => task.start({}));
  await expect(task.start({})).rejects.toMatchObject({ kind: "exhausted" });
  release.resolve({ pid: 1 });
  expect((await Promise.all(calls)).every(({ pid }) => pid === 1)).toBe(true);
});

test("messages over the limit are refused on both sides and the connection lives", async () => {
  const huge = "x".repeat(5 << 20);
  await bench.serve({
    state: ({ id }) => Promise.resolve({ id: id === "huge" ? huge : id }),
  });
  const task = (await bench.connect()).service(Task);
  await expect(task.state({ id: huge })).rejects.toMatchObject({ kind: "exhausted" });
  await expect(task.state({ id: "huge" })).rejects.toMatchObject({ kind: "exhausted" });
  expect((await task.state({ id: "small" })).id).toBe("small");
});

test("a client that reads nothing is throttled, then served when it reads again", async () => {
  const answer = "y".repeat(1 << 20);
  await bench.serve({ state: () => Promise.resolve({ id: answer }) });
  const socket = createConnection(bench.path);
  bench.defer(() => socket.destroy());
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

test("a server that sends garbage ends the connection, not the program", async () => {
  const server = createServer((socket) => socket.write(Buffer.alloc(64, 0xff)));
  server.listen(bench.path);
  await once(server, "listening");
  bench.defer(() => server.close());
  const client = await TtrpcClient.connect(bench.path);
  await client.closed;
  expect(client.pendingCalls).toBe(0);
});

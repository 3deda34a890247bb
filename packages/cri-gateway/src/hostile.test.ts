// Back ends that hang, answer garbage or die, and clients that send what nobody should.
import { constants } from "node:http2";
import { connect } from "node:net";
import { pollUntil } from "@trine/base";
import { afterEach, expect, test, vi } from "vitest";
import { frameOf } from "./grpc-frame.ts";
import type { Behaviour } from "./testing.ts";
import { RawClient, Rig, WAIT_MS } from "./testing.ts";
import { bytesField } from "./wire.ts";

vi.setConfig({ testTimeout: 4 * WAIT_MS, hookTimeout: WAIT_MS });

let rig: Rig;
afterEach(async () => {
  await rig.stop();
});

const hangs: Behaviour = () => undefined;
const hasC1: Behaviour = () => [bytesField(1, bytesField(1, "c1"))];
const C1 = bytesField(1, "c1");
/** One that is passed on as it comes, and one that is asked for whole. */
const CALLS = [
  ["ExecSync", C1],
  ["PullImage", Buffer.alloc(0)],
] as const;
const TYPE = { ":status": 200, "content-type": "application/grpc" };

test("a deadline holds also where the back end hangs, whose call is then ended", async () => {
  rig = await Rig.start({ a: { ListContainers: hasC1, ExecSync: hangs, StopContainer: hangs } });
  // It is known then: of the deadline nothing is needed to look for it.
  expect((await rig.client.raw("ListContainers", Buffer.alloc(0))).code).toBe(0);
  for (const method of ["ExecSync", "StopContainer"]) {
    const call = rig.client.open(method, { "grpc-timeout": "2000m" });
    call.stream.end(frameOf(C1));
    const sent = await pollUntil(
      `${method} arrives`,
      { ms: WAIT_MS },
      () => rig.backEnd("a").calls(method)[0],
    );
    expect((await call.answer).code).toBe(4);
    expect(sent.headers["grpc-timeout"]).toMatch(/^\d+m$/);
    await pollUntil("its call ends", { ms: WAIT_MS }, () =>
      sent.stream.closed ? true : undefined,
    );
  }
});

test("a back end that ends a call without a word at its deadline is late, not away", async () => {
  const cut: Behaviour = ({ stream, headers }) => {
    // Nobody's timer comes before: the deadline passes in this turn of the event loop.
    const [left = "0m"] = [headers["grpc-timeout"]].flat();
    const until = performance.now() + Number.parseInt(left, 10) + 2;
    while (performance.now() < until);
    stream.close(constants.NGHTTP2_CANCEL);
    return undefined;
  };
  rig = await Rig.start({ a: { ListContainers: hasC1, ExecSync: cut, PullImage: cut } });
  expect((await rig.client.raw("ListContainers", Buffer.alloc(0))).code).toBe(0);
  for (let round = 0; round < 5; round += 1) {
    for (const [method, message] of CALLS) {
      const { code } = await rig.client.raw(method, message, { "grpc-timeout": "50m" });
      expect([method, code]).toEqual([method, 4]);
    }
  }
  // Without a deadline it is the back end's fault.
  expect((await rig.client.raw("PullImage", Buffer.alloc(0))).code).toBe(14);
});

test("a call whose deadline has passed is not passed on", async () => {
  rig = await Rig.start({ a: { ListContainers: hasC1, ExecSync: hangs, PullImage: hangs } });
  expect((await rig.client.raw("ListContainers", Buffer.alloc(0))).code).toBe(0);
  for (const [method, message] of CALLS) {
    const { code } = await rig.client.raw(method, message, { "grpc-timeout": "1n" });
    expect([method, code]).toEqual([method, 4]);
    expect(rig.backEnd("a").calls(method)).toEqual([]);
  }
});

test("a client that leaves ends its call at the back end", async () => {
  rig = await Rig.start({ a: { ListContainers: hasC1, ExecSync: hangs } });
  const call = rig.client.open("ExecSync");
  call.stream.end(frameOf(C1));
  const sent = await pollUntil(
    "it arrives",
    { ms: WAIT_MS },
    () => rig.backEnd("a").calls("ExecSync")[0],
  );
  call.stream.close(8);
  await pollUntil("it is ended", { ms: WAIT_MS }, () => (sent.stream.closed ? true : undefined));
});

test("a back end that hangs in a list does not take the other's pods along", async () => {
  let isHanging = false;
  const list: Behaviour = () => (isHanging ? undefined : [bytesField(1, bytesField(1, "b1"))]);
  rig = await Rig.start({ a: {}, b: { ListPodSandbox: list } });
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(0);
  isHanging = true;
  const answer = await rig.client.raw("ListPodSandbox", Buffer.alloc(0), {
    "grpc-timeout": "5000m",
  });
  expect([answer.code, answer.messages.length]).toEqual([0, 1]);
  expect(answer.messages[0]?.subarray(0, 6)).toEqual(bytesField(1, bytesField(1, "b1")));
});

test("a back end that dies in the middle of an answer: unavailable, after what had come", async () => {
  const dies: Behaviour = ({ stream }) => {
    stream.respond(TYPE);
    stream.write(frameOf(Buffer.alloc(100_000)).subarray(0, 70_000), () =>
      stream.session?.destroy(),
    );
    return undefined;
  };
  rig = await Rig.start({ a: { ListContainers: hasC1, ExecSync: dies, ListPodSandbox: dies } });
  expect((await rig.client.raw("ExecSync", C1)).code).toBe(14);
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(14);
});

test("a stream that one back end breaks ends at the others too, also for a client that takes nothing", async () => {
  const breaks = Promise.withResolvers<undefined>();
  const first: Behaviour = async ({ stream }) => {
    stream.respond(TYPE);
    stream.write(frameOf(bytesField(1, bytesField(1, "a1"))));
    await breaks.promise;
    stream.session?.destroy();
    return undefined;
  };
  const flood: Behaviour = ({ stream }) => {
    stream.respond(TYPE);
    const part = frameOf(bytesField(1, bytesField(1, Buffer.alloc(500_000, "b"))));
    for (let sent = 0; sent < 40; sent += 1) stream.write(part);
    return undefined;
  };
  rig = await Rig.start({ a: { StreamContainers: first }, b: { StreamContainers: flood } });
  const call = rig.client.open("StreamContainers");
  call.stream.end(frameOf(Buffer.alloc(0)));
  await pollUntil("a's part is there", { ms: WAIT_MS }, () =>
    call.messages.some((each) => each.length < 100) ? true : undefined,
  );
  call.stream.pause();
  const sent = await pollUntil(
    "b is asked",
    { ms: WAIT_MS },
    () => rig.backEnd("b").calls("StreamContainers")[0],
  );
  breaks.resolve(undefined);
  await pollUntil("b's stream ends", { ms: WAIT_MS }, () =>
    sent.stream.closed ? true : undefined,
  );
  call.stream.resume();
  expect((await call.answer).code).toBe(14);
});

test.each<[string, Behaviour, number]>([
  ["no protobuf in a list", () => [Buffer.from([0x0a, 0x7f])], 13],
  ["two messages for one", () => [Buffer.alloc(0), Buffer.alloc(0)], 13],
  ["no message at all", () => [], 13],
  [
    "a frame that never ends",
    ({ stream }) => {
      stream.respond(TYPE, { waitForTrailers: true });
      stream.once("wantTrailers", () => {
        stream.sendTrailers({ "grpc-status": "0" });
      });
      stream.end(Buffer.from([0, 0, 0, 1, 0, 7]));
      return undefined;
    },
    14,
  ],
  [
    "a frame of four gigabytes",
    ({ stream }) => {
      stream.respond(TYPE);
      stream.write(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
      return undefined;
    },
    8,
  ],
  [
    "HTTP 403",
    ({ stream }) => {
      stream.respond({ ":status": 403 }, { endStream: true });
      return undefined;
    },
    7,
  ],
  ["a status of its own making", () => ({ status: 99, message: "what" }), 99],
])("a back end that answers %s", async (_, behaviour, code) => {
  rig = await Rig.start({ a: { ListPodSandbox: behaviour }, b: {} });
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(code);
});

test("garbage of the only back end is its client's to judge, and changes nothing that is known", async () => {
  let answer = [bytesField(1, bytesField(1, "s1"))];
  rig = await Rig.start({ a: { ListPodSandbox: () => answer } });
  const list = () => rig.client.raw("ListPodSandbox", Buffer.alloc(0));
  expect((await list()).messages).toEqual(answer);
  for (const garbage of [[Buffer.from([0x0a, 0x7f])], [Buffer.alloc(0), Buffer.alloc(0)], []]) {
    answer = garbage;
    expect((await list()).messages).toEqual(garbage);
  }
  await rig.backEnd("a").stop();
  expect((await list()).messages).toEqual([bytesField(1, bytesField(1, "s1"))]);
});

test.each([
  ["no protobuf", "StopContainer", frameOf(Buffer.from([0x0a, 0xff])), 3],
  ["a message too long", "StopContainer", Buffer.from([0, 1, 0, 0, 1]), 8],
  ["two messages", "StopContainer", Buffer.concat([frameOf(C1), frameOf(C1)]), 3],
  ["half a message", "StopContainer", frameOf(C1).subarray(0, 6), 3],
  ["a compressed message", "StopContainer", Buffer.from([1, 0, 0, 0, 0]), 12],
  ["no message", "StopContainer", Buffer.alloc(0), 3],
  ["a call there is not", "/runtime.v1.RuntimeService/Nothing", frameOf(C1), 12],
  ["a service there is not", "/runtime.v1alpha2.RuntimeService/Version", frameOf(C1), 12],
])("a client that sends %s", async (_, method, bytes, code) => {
  rig = await Rig.start({ a: {} });
  const call = rig.client.open(method);
  call.stream.end(bytes);
  expect((await call.answer).code).toBe(code);
  expect(rig.backEnd("a").calls("StopContainer")).toEqual([]);
});

test("a deadline that is none ends the call", async () => {
  rig = await Rig.start({ a: {} });
  expect((await rig.client.raw("Version", Buffer.alloc(0), { "grpc-timeout": "soon" })).code).toBe(
    3,
  );
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(0);
});

test("16 MiB go through both ways, to a client that is slow to take them", async () => {
  const big = Buffer.concat([C1, bytesField(2, Buffer.alloc(16 * 1024 * 1024 - 64, 7))]);
  rig = await Rig.start({ a: { ListContainers: hasC1, ExecSync: ({ message }) => [message] } });
  const call = rig.client.open("ExecSync");
  call.stream.pause();
  call.stream.end(frameOf(big));
  await pollUntil("it is asked", { ms: WAIT_MS }, () => rig.backEnd("a").calls("ExecSync")[0]);
  call.stream.resume();
  const answer = await call.answer;
  expect(answer.code).toBe(0);
  expect(answer.messages[0]?.equals(big)).toBe(true);
});

test("thousands of requests that stay half open are ended, and hold no memory after", async () => {
  rig = await Rig.start({ a: {} }, { limits: { requestMs: 200, pendingBytes: 1_000_000 } });
  const clients = Array.from({ length: 4 }, () => new RawClient(rig.socket));
  const each = clients.flatMap((client) => Array.from({ length: 500 }, () => client));
  const calls = each.map((client) => client.open("StopContainer"));
  for (const call of calls) call.stream.write(Buffer.from([0, 0, 0, 0]));
  const codes = await Promise.all(calls.map(async ({ answer }) => (await answer).code));
  expect(codes).toHaveLength(2000);
  expect(new Set(codes)).toEqual(new Set([4]));
  for (const client of clients) client.close();
  const heavy = rig.client.open("StopContainer");
  heavy.stream.write(frameOf(Buffer.alloc(2_000_000)));
  expect((await heavy.answer).code).toBe(8);
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(0);
});

test("a client that speaks no HTTP/2 is cut off, and nobody else", async () => {
  rig = await Rig.start({ a: {} });
  const socket = connect(rig.socket);
  socket.on("error", () => undefined);
  socket.write("GET / HTTP/1.1\r\n\r\n");
  const closed = await new Promise((resolve) => {
    socket.resume();
    socket.once("close", () => {
      resolve(true);
    });
  });
  expect(closed).toBe(true);
  expect((await rig.client.raw("ListPodSandbox", Buffer.alloc(0))).code).toBe(0);
});

test("a client that closes none of its connections has hundreds of them", async () => {
  rig = await Rig.start({ a: { Version: () => [C1] } });
  const clients = Array.from({ length: 300 }, () => new RawClient(rig.socket));
  try {
    const codes = new Set<number>();
    for (const client of clients) codes.add((await client.raw("Version", Buffer.alloc(0))).code);
    expect([...codes]).toEqual([0]);
  } finally {
    for (const client of clients) client.close();
  }
});

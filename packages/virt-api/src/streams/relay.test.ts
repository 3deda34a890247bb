import { once } from "node:events";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Duplex, duplexPair } from "node:stream";
import { afterEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { Deframer, framed } from "./datagrams.ts";
import type { OpenStream } from "./open-stream.ts";
import { Upgrades } from "./upgrades.ts";

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections();
});

interface Joined {
  readonly client: WebSocket;
  readonly machine: Duplex;
  /** What the relay was given. */
  readonly stream: Duplex;
  /** Resolves when both ends are closed. */
  readonly done: Promise<void>;
}

/** A client and a machine's end, with the relay between them. */
async function join(carries: OpenStream["carries"], pingMs?: number): Promise<Joined> {
  const [stream, machine] = duplexPair();
  const times = { pingMs: pingMs ?? 1_000, silentMs: 60_000, lingerMs: 10 };
  const upgrades = new Upgrades(undefined, times);
  const server = createServer();
  servers.push(server);
  const done = new Promise<void>((resolve) => {
    server.on("upgrade", (request, socket, head) => {
      const open = { stream, carries, pings: pingMs !== undefined };
      void upgrades.serve(request, socket, head, open).then(resolve);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = new WebSocket(`ws://127.0.0.1:${port}`, ["plain.kubevirt.io"]);
  await once(client, "open");
  server.close();
  return { client, machine, stream, done };
}

async function take(machine: Duplex, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  while (size < bytes) {
    const part = machine.read() as Buffer | null;
    if (part === null) await once(machine, "readable");
    else {
      parts.push(part);
      size += part.length;
    }
  }
  return Buffer.concat(parts);
}

test("bytes go both ways as binary frames, under the sub-protocol", async () => {
  const { client, machine, done } = await join("bytes");
  expect(client.protocol).toBe("plain.kubevirt.io");
  client.send(Buffer.from([0, 255, 10]));
  expect(await take(machine, 3)).toEqual(Buffer.from([0, 255, 10]));
  machine.write(Buffer.from([1, 128]));
  const [data, isBinary] = (await once(client, "message")) as [Buffer, boolean];
  expect([[...data], isBinary]).toEqual([[1, 128], true]);
  client.close();
  await done;
});

test("the machine's end closes with 1000, after its last byte", async () => {
  const { client, machine, done } = await join("bytes");
  const said: string[] = [];
  client.on("message", (data: Buffer) => said.push(data.toString()));
  const closed = once(client, "close");
  machine.end("bye");
  expect((await closed)[0]).toBe(1000);
  expect(said.join("")).toBe("bye");
  await done;
});

test("a machine's end that is lost closes with 1011", async () => {
  const { client, stream, done } = await join("bytes");
  const closed = once(client, "close");
  stream.destroy(new Error("reset"));
  expect((await closed)[0]).toBe(1011);
  await done;
});

test("a client that leaves ends the machine's end, politely or not", async () => {
  for (const leave of ["close", "terminate"] as const) {
    const { client, machine, done } = await join("bytes");
    machine.resume();
    const ended = once(machine, "end");
    client[leave]();
    await ended;
    await done;
  }
});

test("a machine that does not read makes its client wait, and nothing is lost", async () => {
  const { client, machine, done } = await join("bytes");
  const chunk = Buffer.alloc(256 * 1024, 7);
  const count = 64;
  for (let each = 0; each < count; each += 1) client.send(chunk);
  const got = await take(machine, chunk.length);
  // The rest is with the client and the system's sockets, not with us: the relay holds a frame or two.
  expect(machine.readableLength).toBeLessThan(2 * chunk.length);
  const rest = await take(machine, chunk.length * count - got.length);
  expect(got.length + rest.length).toBe(chunk.length * count);
  client.close();
  await done;
});

test("a client that does not read makes its machine wait, and nothing is lost", async () => {
  const { client, machine, done } = await join("bytes");
  client.pause();
  const chunk = Buffer.alloc(256 * 1024, 9);
  let written = 0;
  const total = 64;
  const all = (async () => {
    for (; written < total; written += 1) {
      if (!machine.write(chunk)) await once(machine, "drain");
    }
  })();
  // A turn for each chunk: more than it takes where nobody waits.
  for (let turn = 0; turn < total * 4; turn += 1) await new Promise(setImmediate);
  expect(written).toBeLessThan(total);
  let got = 0;
  const whole = new Promise<void>((resolve) => {
    client.on("message", (data: Buffer) => {
      got += data.length;
      if (got === chunk.length * total) resolve();
    });
  });
  client.resume();
  await all;
  await whole;
  client.close();
  await done;
});

test("datagrams keep their borders, both ways", async () => {
  const { client, machine, done } = await join("datagrams");
  client.send(Buffer.from("one"));
  client.send(Buffer.alloc(0));
  expect(await take(machine, 7)).toEqual(Buffer.from("\0\u0003one\0\0", "latin1"));
  const said: string[] = [];
  const both = new Promise<void>((resolve) => {
    client.on("message", (data: Buffer) => {
      if (said.push(data.toString()) === 2) resolve();
    });
  });
  const frames = Buffer.concat([framed(Buffer.from("a")), framed(Buffer.from("bc"))]);
  for (const byte of frames) machine.write(Buffer.of(byte));
  await both;
  expect(said).toEqual(["a", "bc"]);
  client.close();
  await done;
});

test("what is no datagram closes with a code that says so", async () => {
  const long = await join("datagrams");
  const tooBig = once(long.client, "close");
  long.client.send(Buffer.alloc(65_536));
  expect((await tooBig)[0]).toBe(1009);
  const cut = await join("datagrams");
  const cutOff = once(cut.client, "close");
  cut.machine.end(Buffer.from([0, 9, 1]));
  expect((await cutOff)[0]).toBe(1011);
  await Promise.all([long.done, cut.done]);
});

test("a port's client is pinged with the words that KubeVirt has", async () => {
  const { client, done } = await join("bytes", 10);
  const [words] = (await once(client, "ping")) as [Buffer];
  expect(words.toString()).toBe("keep alive");
  client.close();
  await done;
});

test("a user has so many streams, and gives them back", () => {
  const upgrades = new Upgrades({ all: 3, ofOneUser: 2 });
  const release = upgrades.reserve("a");
  upgrades.reserve("a");
  expect(() => upgrades.reserve("a")).toThrow("too many streams");
  upgrades.reserve("b");
  expect(() => upgrades.reserve("c")).toThrow("too many streams");
  release();
  upgrades.reserve("c");
  expect(upgrades.open).toBe(3);
});

test("a deframer holds what is not whole yet", () => {
  const deframer = new Deframer();
  expect(deframer.push(Buffer.from([0]))).toEqual([]);
  expect(deframer.isMidway).toBe(true);
  expect(deframer.push(Buffer.from([2, 65]))).toEqual([]);
  expect(deframer.push(Buffer.from([66, 0, 0]))).toEqual([Buffer.from("AB"), Buffer.alloc(0)]);
  expect(deframer.isMidway).toBe(false);
});

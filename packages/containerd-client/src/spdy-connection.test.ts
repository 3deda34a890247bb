import { once } from "node:events";
import { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import { createInflate } from "node:zlib";
import { expect, test } from "vitest";
import { SpdyConnection } from "./spdy-connection.ts";
import { FrameReader, dataFrame, pongFrame, resetFrame } from "./spdy-frames.ts";

/** Two ends of a connection in memory. */
function pair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      read: () => undefined,
      write(chunk: Buffer, _, done) {
        other().push(chunk);
        done();
      },
      final(done) {
        other().push(null);
        done();
      },
    });
  const left: Duplex = make(() => right);
  const right: Duplex = make(() => left);
  return [left, right];
}

function connected(): { connection: SpdyConnection; server: Duplex } {
  const [client, server] = pair();
  return { connection: new SpdyConnection(client, new Uint8Array()), server };
}

/** Parts of the first control frame: type, stream id, header block. */
async function firstFrame(server: Duplex): Promise<{ type: number; id: number; block: Buffer }> {
  const [chunk] = (await once(server, "data")) as [Buffer];
  return { type: chunk.readUInt16BE(2), id: chunk.readUInt32BE(8), block: chunk.subarray(18) };
}

test("opens streams with odd numbers and headers that zlib reads", async () => {
  const { connection, server } = connected();
  const seen = firstFrame(server);
  connection.open({ streamType: "error", port: "80" });
  const { type, id, block } = await seen;
  expect([type, id]).toEqual([1, 1]);
  const inflate = createInflate();
  inflate.write(block);
  const [plain] = (await once(inflate, "data")) as [Buffer];
  expect(plain.readUInt32BE(0)).toBe(2);
  expect(plain.toString("latin1")).toContain("streamtype\0\0\0\u0005error");
});

test("carries bytes both ways; each end is closed alone", async () => {
  const { connection, server } = connected();
  const frames = new FrameReader();
  const received: string[] = [];
  let ended = false;
  server.on("data", (chunk: Buffer) => {
    for (const frame of frames.push(chunk)) {
      if (frame.type !== "data") continue;
      received.push(Buffer.from(frame.data).toString());
      ended ||= frame.end;
    }
  });
  const stream = connection.open({ streamtype: "data" });
  stream.end("to the server");
  await once(stream, "finish");
  expect([received.join(""), ended]).toEqual(["to the server", true]);
  server.write(dataFrame(1, Buffer.from("to the client"), true));
  expect(await text(stream)).toBe("to the client");
});

test("takes frames cut at any byte", () => {
  const bytes = Buffer.concat([dataFrame(1, Buffer.from("abc"), true), pongFrame(7)]);
  const reader = new FrameReader();
  const frames = [...bytes].flatMap((byte) => [...reader.push(Uint8Array.of(byte))]);
  expect(frames.map(({ type }) => type)).toEqual(["data", "ping"]);
});

test("cuts long data into frames of which the last has the end", () => {
  const reader = new FrameReader();
  const frames = [...reader.push(dataFrame(3, Buffer.alloc(200_000, 1), true))];
  const lengths = frames.map((frame) => (frame.type === "data" ? frame.data.length : -1));
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(200_000);
  expect(frames.map((frame) => frame.type === "data" && frame.end)).toEqual([
    ...[false, false, false, true],
  ]);
});

test("a canceled stream has ended and keeps what it got, a refused one is an error", async () => {
  const { connection, server } = connected();
  const finished = connection.open({ streamtype: "stdout" });
  const refused = connection.open({ streamtype: "stdin" });
  const canceled = resetFrame(1);
  canceled.writeUInt32BE(5, 12);
  const failure = once(refused, "error");
  server.write(
    Buffer.concat([dataFrame(1, Buffer.from("last words"), false), canceled, resetFrame(3)]),
  );
  expect(((await failure) as [Error])[0].message).toMatch(/reset, status 3/);
  expect(await text(finished)).toBe("last words");
});

test.each([
  ["another version", Buffer.from([0x80, 2, 0, 1, 0, 0, 0, 0]), /SPDY version 2/],
  ["a frame too long", Buffer.from([0, 0, 0, 1, 0, 0xff, 0xff, 0xff]), /at most 1048576/],
])("ends the connection at %s", async (_, bytes, message) => {
  const { connection, server } = connected();
  const stream = connection.open({ streamtype: "stdout" });
  const failure = once(stream, "error");
  server.write(bytes);
  expect(((await failure) as [Error])[0].message).toMatch(message);
  expect(() => connection.open({ streamtype: "stdin" })).toThrow(message);
});

test("a lost connection fails open streams with kind unavailable", async () => {
  const [client] = pair();
  const connection = new SpdyConnection(client, new Uint8Array());
  const stream = connection.open({ streamtype: "stdout" });
  const failure = once(stream, "error");
  client.destroy();
  expect(((await failure) as [Error])[0]).toMatchObject({ kind: "unavailable" });
});

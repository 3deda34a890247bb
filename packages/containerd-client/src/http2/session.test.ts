import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http2";
import type { Http2Server, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { createServer as createNetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FrameReader, frame, frameHeader } from "./frames.ts";
import type { Headers } from "./hpack.ts";
import { Http2Session } from "./session.ts";

const MIB = 1024 * 1024;
const PREFACE_BYTES = 24;
const GET = { ":method": "GET", ":scheme": "http", ":authority": "localhost" };

let dir: string;
let path: string;
let server: Http2Server;
let session: Http2Session;
let serve: (stream: ServerHttp2Stream, path: string) => void;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-h2-"));
  path = join(dir, "s");
  server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => undefined); // the client's reset is the client's business
    serve(stream, headers[":path"] ?? "");
  });
  await once(server.listen(path), "listening");
  session = new Http2Session(path);
});

afterEach(async () => {
  session.destroy();
  server.close();
  await rm(dir, { recursive: true });
});

interface Answer {
  readonly headers: Headers;
  readonly body: Buffer;
}

function ask(to: Http2Session, what: string, body: Buffer, more: Headers = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let headers: Headers = {};
    const parts: Buffer[] = [];
    const stream = to.request(
      { ...GET, ":path": what, ...more },
      {
        headers: (fields) => {
          headers = { ...headers, ...fields };
        },
        data: (bytes) => {
          stream.take(bytes.length);
          parts.push(bytes);
        },
        end: () => {
          resolve({ headers, body: Buffer.concat(parts) });
        },
        fail: reject,
      },
    );
    stream.send([body], true);
  });
}

test("both ways more than any window, several at once, with trailers", async () => {
  serve = (stream) => {
    void buffer(stream).then((body) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => {
        stream.sendTrailers({ "grpc-status": "0" });
      });
      stream.end(body);
    });
  };
  const bodies = [10, 9, 0].map((size, fill) => Buffer.alloc(size * MIB, fill + 1));
  const answers = await Promise.all(bodies.map((body) => ask(session, "/echo", body)));
  answers.forEach(({ headers, body }, index) => {
    expect(headers).toMatchObject({ ":status": "200", "grpc-status": "0" });
    expect(bodies[index]?.equals(body)).toBe(true);
  });
});

test("headers longer than a frame, both ways", async () => {
  serve = (stream) => {
    stream.respond({ ":status": 200, long: "ä".repeat(3) + "y".repeat(20_000) });
    stream.end();
  };
  const { headers } = await ask(session, "/", Buffer.alloc(0), { mine: "x".repeat(30_000) });
  expect(headers["long"]?.length).toBe(20_003);
});

test("a reset fails its call, and the connection goes on", async () => {
  serve = (stream, what) => {
    if (what === "/reset") stream.close(2);
    else stream.respond({ ":status": 204 }, { endStream: true });
  };
  await expect(ask(session, "/reset", Buffer.alloc(0))).rejects.toThrow("reset, code 2");
  expect((await ask(session, "/", Buffer.alloc(0))).headers[":status"]).toBe("204");
});

test("a server that goes away answers what it has begun, and gets no more", async () => {
  let answer: (() => void) | undefined;
  serve = (stream) => {
    answer = () => {
      stream.respond({ ":status": 200 }, { endStream: true });
    };
    (stream.session as ServerHttp2Session).goaway(0, 1);
    stream.session?.ping(() => answer?.());
  };
  expect((await ask(session, "/", Buffer.alloc(0))).headers[":status"]).toBe("200");
  expect(session.isUsable).toBe(false);
});

test("what waits fails when the connection ends", async () => {
  serve = (stream) => {
    stream.session?.destroy();
  };
  await expect(ask(session, "/", Buffer.alloc(0))).rejects.toThrow("closed");
  expect(session.isUsable).toBe(false);
});

test.each([
  ["a frame that is too long", frameHeader(0, 0, 1, 20_000), "frame of 20000 bytes"],
  ["headers that never end", endlessHeaders(), "too long"],
  ["headers that nobody began", frame(9, 4, 1, Buffer.of(0x88)), "never began"],
  ["another frame within headers", twoHalves(), "cut in two"],
  ["a frame that is all padding", frame(0, 8, 1, Buffer.of(9)), "all padding"],
  ["a window frame of no size", frame(8, 0, 0, Buffer.alloc(0)), "too short"],
])("%s ends the connection", async (_, bytes, why) => {
  const raw = createNetServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write(bytes));
  });
  const at = join(dir, "raw");
  await once(raw.listen(at), "listening");
  const bad = new Http2Session(at);
  await expect(ask(bad, "/", Buffer.alloc(0))).rejects.toThrow(why);
  expect(bad.isUsable).toBe(false);
  raw.close();
});

test("more data than the window allows fails the call", async () => {
  const flood = Buffer.concat(
    Array.from({ length: 600 }, () => frame(0, 0, 1, Buffer.alloc(16_384))),
  );
  const raw = createNetServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write(flood));
  });
  const at = join(dir, "raw");
  await once(raw.listen(at), "listening");
  const to = new Http2Session(at);
  const failed = new Promise((resolve) => {
    const never = { headers: () => undefined, data: () => undefined, end: () => undefined };
    to.request({ ...GET, ":path": "/" }, { ...never, fail: resolve });
  });
  expect(await failed).toMatchObject({ message: "the server sends more than it may" });
  to.destroy();
  raw.close();
});

test.each([
  ["a stream that it has reset", [frame(3, 0, 1, Buffer.of(0, 0, 0, 2)), goAway(1)], "reset"],
  ["a stream that it never began", [goAway(0)], "no more calls"],
])("the server is not told of %s", async (_, frames, why) => {
  const sent: Buffer[] = [];
  const ended = Promise.withResolvers<undefined>();
  const raw = createNetServer((socket) => {
    socket.once("data", () => socket.write(Buffer.concat(frames)));
    socket.on("data", (chunk: Buffer) => sent.push(chunk));
    socket.on("end", () => {
      ended.resolve(undefined);
    });
  });
  const at = join(dir, "raw");
  await once(raw.listen(at), "listening");
  await expect(ask(new Http2Session(at), "/", Buffer.alloc(0))).rejects.toThrow(why);
  await ended.promise;
  const types = new FrameReader().take(Buffer.concat(sent).subarray(PREFACE_BYTES));
  expect([...types].map(({ type }) => type)).not.toContain(3);
  raw.close();
});

function goAway(last: number): Buffer {
  return frame(7, 0, 0, Buffer.of(0, 0, 0, last, 0, 0, 0, 0));
}

function endlessHeaders(): Buffer {
  const parts = Array.from({ length: 6 }, () => frame(9, 0, 1, Buffer.alloc(16_000)));
  return Buffer.concat([frame(1, 0, 1, Buffer.alloc(16_000)), ...parts]);
}

function twoHalves(): Buffer {
  return Buffer.concat([frame(1, 0, 1, Buffer.of(0x88)), frame(6, 0, 0, Buffer.alloc(8))]);
}

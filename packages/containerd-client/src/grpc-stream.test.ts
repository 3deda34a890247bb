import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http2";
import type { Http2Server, ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { GrpcStream } from "./grpc-stream.ts";
import { Http2Session } from "./http2/session.ts";
import { RECEIVE_WINDOW } from "./http2/stream.ts";

const HEADER_BYTES = 5;
const HEADERS = { ":method": "POST", ":scheme": "http", ":authority": "localhost", ":path": "/" };

let dir: string;
let server: Http2Server;
let session: Http2Session;
/** What the server sends. */
let messages: Buffer[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-grpc-"));
  server = createServer();
  server.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => undefined); // the client's reset is the client's business
    stream.respond({ ":status": 200 });
    for (const message of messages) stream.write(message);
  });
  await once(server.listen(join(dir, "s")), "listening");
  session = new Http2Session(join(dir, "s"));
});

afterEach(async () => {
  session.destroy();
  server.close();
  await rm(dir, { recursive: true });
});

function message(length: number, sent = length): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + sent);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

test("the longest message comes through however little of the window was given back", async () => {
  const [quarter, rest] = [RECEIVE_WINDOW / 4, (RECEIVE_WINDOW * 3) / 4 - HEADER_BYTES];
  messages = [message(quarter - HEADER_BYTES - 1), message(rest)];
  const call = new GrpcStream(session, HEADERS, { name: "Read", maxBytes: 4 * RECEIVE_WINDOW });
  expect((await call.receive())?.length).toBe(quarter - HEADER_BYTES - 1);
  expect((await call.receive())?.length).toBe(rest);
  call.close();
});

test("a message that would never be whole is refused", async () => {
  messages = [message(RECEIVE_WINDOW, 10)];
  const call = new GrpcStream(session, HEADERS, { name: "Read", maxBytes: 4 * RECEIVE_WINDOW });
  await expect(call.receive()).rejects.toMatchObject({ kind: "exhausted" });
  call.close();
});

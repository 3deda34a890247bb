// How an answer is sent, on a real HTTP/2 stream.
import { getEventListeners, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http2";
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withDeadline } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ServerCall } from "./server-call.ts";
import { RawClient, WAIT_MS } from "./testing.ts";

const PART = Buffer.alloc(500_000, 7);
const PARTS = 40;

let dir: string;
let server: Http2Server;
let client: RawClient;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-call-"));
  server = createServer();
  server.listen(join(dir, "s.sock"));
  await once(server, "listening");
  client = new RawClient(join(dir, "s.sock"));
});
afterEach(async () => {
  client.close();
  const closed = once(server, "close");
  server.close();
  await closed;
  await rm(dir, { recursive: true });
});

async function open(): Promise<[ServerCall, ReturnType<RawClient["open"]>]> {
  const asked = once(server, "stream") as Promise<[ServerHttp2Stream, IncomingHttpHeaders]>;
  const sent = client.open("StreamContainers");
  sent.stream.end();
  const [stream, headers] = await asked;
  stream.on("error", () => undefined);
  return [new ServerCall(stream, headers), sent];
}

test("messages that had to wait leave nothing behind on the call's signal", async () => {
  const [call, sent] = await open();
  for (let at = 0; at < PARTS; at += 1) await call.send(PART);
  expect(getEventListeners(call.signal, "abort")).toEqual([]);
  call.end({ "grpc-status": "0" });
  expect(await sent.answer).toMatchObject({ code: 0, messages: { length: PARTS } });
});

test("who waits to send when the answer ends goes on, and what it sends is thrown away", async () => {
  const [call, sent] = await open();
  sent.stream.pause();
  const sending = (async () => {
    for (let at = 0; at < PARTS; at += 1) await call.send(PART);
  })();
  call.end({ "grpc-status": "5" });
  await withDeadline("sending", WAIT_MS, sending);
  expect(call.signal.aborted).toBe(true);
  sent.stream.resume();
  expect(await sent.answer).toMatchObject({ code: 5, messages: { length: 1 } });
});

import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http2";
import type { Http2Server, ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ContainerStatusRequestSchema,
  ContainerStatusResponseSchema,
  ListContainersResponseSchema,
  ReopenContainerLogRequestSchema,
  ReopenContainerLogResponseSchema,
} from "@trine/proto/cri/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { rotateLogs } from "./rotate-logs.ts";

let dir: string;
let server: Http2Server;
/** Names of the methods that were called. */
let calls: string[];
/** Containers that run; those of `stuck` cannot open their log again. */
let running: string[];
let stuck: string[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-rotate-"));
  [calls, running, stuck] = [[], [], []];
  server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    void buffer(stream).then((body) => {
      answer(stream, (headers[":path"] ?? "").replace(/^.*\//, ""), body.subarray(5));
    });
  });
  await once(server.listen(join(dir, "cri")), "listening");
});

afterEach(async () => {
  server.close();
  await rm(dir, { recursive: true });
});

function logOf(id: string): string {
  return join(dir, "pods", id, "logs/main/0.log");
}

function answer(stream: ServerHttp2Stream, method: string, body: Buffer): void {
  calls.push(method);
  if (method === "ListContainers") {
    const list = { containers: running.map((id) => ({ id })) };
    send(
      stream,
      toBinary(ListContainersResponseSchema, create(ListContainersResponseSchema, list)),
    );
  } else if (method === "ContainerStatus") {
    const { containerId: id } = fromBinary(ContainerStatusRequestSchema, body);
    const status = { status: { id, logPath: logOf(id) } };
    const schema = ContainerStatusResponseSchema;
    send(stream, toBinary(schema, create(schema, status)));
  } else {
    const { containerId } = fromBinary(ReopenContainerLogRequestSchema, body);
    const schema = ReopenContainerLogResponseSchema;
    if (stuck.includes(containerId)) refuse(stream);
    else send(stream, toBinary(schema, create(schema)));
  }
}

function refuse(stream: ServerHttp2Stream): void {
  const status = { "grpc-status": "2", "grpc-message": "no log of it" };
  stream.respond({ ":status": 200, ...status }, { endStream: true });
}

function send(stream: ServerHttp2Stream, message: Uint8Array): void {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  stream.respond({ ":status": 200 }, { waitForTrailers: true });
  stream.on("wantTrailers", () => {
    stream.sendTrailers({ "grpc-status": "0" });
  });
  stream.end(Buffer.concat([header, message]));
}

async function writeLog(id: string, name = "0.log"): Promise<void> {
  await mkdir(join(dir, "pods", id, "logs/main"), { recursive: true });
  await writeFile(join(dir, "pods", id, "logs/main", name), "x".repeat(10));
}

const config = (): Parameters<typeof rotateLogs>[0] => ({
  dir,
  containerd: join(dir, "cri"),
  maxBytes: 5,
  maxFiles: 2,
});

test("a log that cannot be opened again is told, and the others are rotated", async () => {
  [running, stuck] = [
    ["a", "b", "c"],
    ["a", "b"],
  ];
  await writeLog("a", "0.log.20260101T000000000");
  await writeLog("b");
  await writeLog("c");
  await expect(rotateLogs(config())).rejects.toThrow(`${logOf("a")}: `);
  expect(await readdir(join(dir, "pods/b/logs/main"))).toEqual(["0.log"]);
  const [rotated, ...more] = await readdir(join(dir, "pods/c/logs/main"));
  expect([rotated?.startsWith("0.log.20"), more]).toEqual([true, []]);
});

test("for a container that has ended the runtime is asked once", async () => {
  await writeLog("a", "0.log.20260101T000000000");
  await writeLog("b");
  const ended = new Set<string>();
  for (let look = 0; look < 3; look += 1) expect(await rotateLogs(config(), ended)).toBe(0);
  expect(calls).toEqual(["ListContainers"]);
  await rm(join(dir, "pods/a"), { recursive: true });
  await rotateLogs(config(), ended);
  expect(ended.size).toBe(1);
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { VersionRequestSchema, VersionResponseSchema } from "@trine/proto/cri/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type CriClient, createCriClient, importImage } from "./index.ts";

let dir: string;
let server: Server;
let client: CriClient;
let answer: { code?: status; version?: string; never?: boolean };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-cri-"));
  server = new Server();
  server.addService(
    {
      version: {
        path: "/runtime.v1.RuntimeService/Version",
        requestStream: false,
        responseStream: false,
        requestDeserialize: (bytes: Buffer) => fromBinary(VersionRequestSchema, bytes),
        requestSerialize: () => Buffer.alloc(0),
        responseSerialize: (version: string) =>
          Buffer.from(toBinary(VersionResponseSchema, create(VersionResponseSchema, { version }))),
        responseDeserialize: () => undefined,
      },
    },
    {
      version: (
        _: unknown,
        done: (error: { code: status; details: string } | null, value?: string) => void,
      ) => {
        if (answer.never === true) return;
        if (answer.code === undefined) done(null, answer.version);
        else done({ code: answer.code, details: "the server's words" });
      },
    },
  );
  const socket = join(dir, "cri.sock");
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
  client = createCriClient(socket);
});

afterEach(async () => {
  client.close();
  server.forceShutdown();
  await rm(dir, { recursive: true, force: true });
});

test("calls by the method's name and answers the message", async () => {
  answer = { version: "0.1.0" };
  expect((await client.runtime.version({})).version).toBe("0.1.0");
});

test.each([
  [status.NOT_FOUND, "notFound"],
  [status.INVALID_ARGUMENT, "invalid"],
  [status.FAILED_PRECONDITION, "wrongState"],
  [status.UNKNOWN, "internal"],
  [status.UNIMPLEMENTED, "unimplemented"],
])("status %i is kind %s, with the server's words", async (code, kind) => {
  answer = { code };
  const error = { kind, message: "Version: the server's words" };
  await expect(client.runtime.version({})).rejects.toMatchObject(error);
});

test("a deadline and an abort end a call", async () => {
  answer = { never: true };
  await expect(client.runtime.version({}, { timeoutMs: 20 })).rejects.toMatchObject({
    kind: "timeout",
  });
  const abort = new AbortController();
  const call = client.runtime.version({}, { signal: abort.signal });
  abort.abort();
  await expect(call).rejects.toMatchObject({ kind: "canceled" });
});

test("nobody on the socket is kind unavailable", async () => {
  const lonely = createCriClient(join(dir, "nobody.sock"));
  await expect(lonely.runtime.version({})).rejects.toMatchObject({ kind: "unavailable" });
  lonely.close();
});

test("an import that fails says ctr's words", async () => {
  const failing = importImage("/dev/null", { socket: join(dir, "nobody.sock"), ctr: "/bin/false" });
  await expect(failing).rejects.toThrow("import image: ctr exit 1");
});

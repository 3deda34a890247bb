import { createHash } from "node:crypto";
import type { RequestListener } from "node:http";
import { buffer } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { sameForAll } from "../fetch/credentials.ts";
import { httpOf, startServer } from "../testing.ts";
import type { TestServer } from "../testing.ts";
import { RegistryClient } from "./registry-client.ts";

const SIGNAL = new AbortController().signal;
const BYTES = Buffer.from("layer");
const DIGEST = `sha256:${createHash("sha256").update(BYTES).digest("hex")}`;
const BLOB = { digest: DIGEST, sizeBytes: BYTES.length, chunks: () => pieces(BYTES) };
const CREDENTIALS = sameForAll({ kind: "basic", username: "u", password: "p" });
const BASIC = `Basic ${Buffer.from("u:p").toString("base64")}`;

const servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(listener: RequestListener): Promise<TestServer> {
  const server = await startServer(listener);
  servers.push(server);
  return server;
}

// eslint-disable-next-line @typescript-eslint/require-await -- a stream of one piece
async function* pieces(...all: Buffer[]): AsyncGenerator<Uint8Array, void> {
  yield* all;
}

function registryAt({ url }: TestServer, stallMs = 10_000): Promise<RegistryClient> {
  const settings = httpOf({ credentials: CREDENTIALS, stallMs });
  return RegistryClient.create(settings, new URL(`${url}/v2/a/b/`));
}

interface Upload {
  readonly authorization: string | undefined;
  readonly body: Buffer;
}

/** Takes an upload, and keeps what came with it. */
async function storage(uploads: Upload[]): Promise<TestServer> {
  return serve((request, response) => {
    const { authorization } = request.headers;
    void buffer(request).then((body) => {
      uploads.push({ authorization, body });
      response.writeHead(201).end();
    });
  });
}

test("a host that an upload is led to is told no credentials", async () => {
  const uploads: Upload[] = [];
  const other = await storage(uploads);
  const asked: (string | undefined)[] = [];
  const registry = await serve((request, response) => {
    asked.push(request.headers.authorization);
    response.writeHead(202, { location: `${other.url}/upload?key=1` }).end();
  });
  await (await registryAt(registry)).putBlob(BLOB, SIGNAL);
  expect(asked).toEqual([BASIC]);
  expect(uploads).toEqual([{ authorization: undefined, body: BYTES }]);
});

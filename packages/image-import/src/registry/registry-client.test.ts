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

/** A registry that wants a token of the server at `realm`. */
function wantsToken(realm: string): RequestListener {
  return (request, response) => {
    const isKnown = request.headers.authorization === "Bearer t0ken";
    if (isKnown) response.writeHead(200).end();
    else response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}/token"` }).end();
  };
}

test("a token is asked for with the registry's credentials, and used", async () => {
  const asked: (string | undefined)[] = [];
  const tokens = await serve((request, response) => {
    asked.push(request.headers.authorization);
    response.end('{"token": "t0ken"}');
  });
  const registry = await registryAt(await serve(wantsToken(tokens.url)));
  expect(await registry.hasBlob(DIGEST, SIGNAL)).toBe(true);
  expect(asked).toEqual([BASIC]);
});

test("a token without an end is not read on, one that drips is not waited for", async () => {
  const endless = await serve((_, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
    };
    response.on("drain", more);
    more();
  });
  const long = await registryAt(await serve(wantsToken(endless.url)));
  await expect(long.hasBlob(DIGEST, SIGNAL)).rejects.toMatchObject({ kind: "invalid" });
  const drips = await serve((_, response) => {
    const drip = setInterval(() => response.write(" "), 50);
    response.on("close", () => {
      clearInterval(drip);
    });
  });
  const slow = await registryAt(await serve(wantsToken(drips.url)), 500);
  await expect(slow.hasBlob(DIGEST, SIGNAL)).rejects.toMatchObject({ kind: "timeout" });
});

test("of a refusal neither its body nor the rest of an upload is waited for", async () => {
  const { promise: closed, resolve: onClose } = Promise.withResolvers<undefined>();
  const registry = await serve((request, response) => {
    if (request.method === "POST") response.writeHead(202, { location: "/upload" }).end();
    else {
      response.on("close", () => {
        onClose(undefined);
      });
      request.resume(); // or the end of the connection is not seen
      response.writeHead(413).write("a body without an end");
    }
  });
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<undefined>();
  async function* chunks(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) yield await Promise.resolve(Buffer.alloc(65_536));
    } finally {
      onEnd(undefined);
    }
  }
  const upload = (await registryAt(registry)).putBlob(
    { digest: DIGEST, sizeBytes: 2 ** 40, chunks },
    SIGNAL,
  );
  await expect(upload).rejects.toMatchObject({ kind: "invalid" });
  await Promise.all([closed, ended]);
});

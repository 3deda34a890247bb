import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { FileServer, httpOf, makeAuthority, startServer } from "../testing.ts";
import type { TestServer } from "../testing.ts";
import { parseAuthFile } from "./credentials.ts";
import { download } from "./download.ts";
import type { Download, Version } from "./download.ts";
import { HttpClient, parseUrl } from "./http-client.ts";
import type { HttpSettings } from "./http-client.ts";

const MIB = 1024 * 1024;
const BODY = randomBytes(3 * MIB);
const SUM = { algorithm: "sha256", hex: createHash("sha256").update(BODY).digest("hex") } as const;

// Silence is waited for, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

let dir: string;
let tlsDir: string;
const servers: TestServer[] = [];

beforeAll(() => {
  tlsDir = mkdtempSync(join(tmpdir(), "trine-tls-"));
  makeAuthority(tlsDir);
});
afterAll(() => rm(tlsDir, { recursive: true }));
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-download-"));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  await rm(dir, { recursive: true });
});

async function serve(listener: RequestListener, tls?: string): Promise<TestServer> {
  const server = await startServer(listener, tls);
  servers.push(server);
  return server;
}

interface Fetched {
  readonly bytes: Buffer;
  readonly versions: readonly Version[];
}

async function fetch(
  url: string,
  options: Partial<Download> & { http?: Partial<HttpSettings>; left?: Buffer } = {},
): Promise<Fetched> {
  const { http = {}, left, ...job } = options;
  const path = join(dir, "download");
  const to = await open(path, "w+");
  try {
    if (left !== undefined) await to.write(left, 0, left.length, 0);
    const versions: Version[] = [];
    const client = await HttpClient.create(httpOf({ stallMs: 1000, ...http }));
    await download(
      client,
      {
        url: parseUrl(url),
        to,
        maxBytes: 64 * MIB,
        retries: 2,
        stallMs: 1000,
        onVersion: (version) => {
          versions.push(version);
          return Promise.resolve();
        },
        onProgress: () => undefined,
        ...job,
      },
      new AbortController().signal,
    );
    return { bytes: await readFile(path), versions };
  } finally {
    await to.close();
  }
}

test("fetches a file and compares its checksum", async () => {
  const { url } = await serve(new FileServer(BODY).listener);
  const { bytes, versions } = await fetch(`${url}/a`, { checksum: SUM });
  expect(bytes.equals(BODY)).toBe(true);
  expect(versions).toEqual([{ validator: '"v1"', totalBytes: BODY.length }]);
  await expect(
    fetch(`${url}/a`, { checksum: { ...SUM, hex: "0".repeat(64) } }),
  ).rejects.toMatchObject({ kind: "invalid", message: expect.stringContaining(SUM.hex) as string });
});

test("goes on where a cut answer ended, within a run and after one", async () => {
  const file = new FileServer(BODY);
  file.cuts = [MIB, MIB];
  const { url } = await serve(file.listener);
  const { bytes } = await fetch(`${url}/a`, { checksum: SUM });
  expect(bytes.equals(BODY)).toBe(true);
  expect(file.asked).toHaveLength(3);
  expect(file.asked.map(({ range }) => range === undefined)).toEqual([true, false, false]);

  const left = BODY.subarray(0, 2 * MIB + 5);
  const begun = { validator: '"v1"', totalBytes: BODY.length };
  const again = await fetch(`${url}/a`, { checksum: SUM, left, begun });
  expect(again.bytes.equals(BODY)).toBe(true);
  expect(file.asked.at(-1)?.range).toBe(`bytes=${left.length}-`);
});

test("begins anew when the file is another one now, and never mixes two", async () => {
  const file = new FileServer(BODY, '"v2"');
  const { url } = await serve(file.listener);
  const left = randomBytes(MIB);
  const begun = { validator: '"v1"', totalBytes: 9 * MIB };
  const { bytes } = await fetch(`${url}/a`, { left, begun, checksum: SUM });
  expect(bytes.equals(BODY)).toBe(true);

  // What was left without a validator is of no use.
  expect((await fetch(`${url}/a`, { left, checksum: SUM })).bytes.equals(BODY)).toBe(true);
});

test.each([
  ["another tag", { etag: '"v2"' }],
  ["another size", { "content-range": `bytes ${MIB}-${BODY.length}/${BODY.length + 1}` }],
  ["another place", { "content-range": `bytes 7-${BODY.length - 1}/${BODY.length}` }],
  ["no place", { "content-range": "bytes */*" }],
])("a part of %s is refused", async (_, headers) => {
  const { url } = await serve((__, response) => {
    const range = `bytes ${MIB}-${BODY.length - 1}/${BODY.length}`;
    response.writeHead(206, { etag: '"v1"', "content-range": range, ...headers });
    response.end(BODY.subarray(MIB));
  });
  const left = BODY.subarray(0, MIB);
  const begun = { validator: '"v1"', totalBytes: BODY.length };
  await expect(fetch(`${url}/a`, { left, begun })).rejects.toMatchObject({
    kind: "conflict",
    message: expect.stringContaining("changed while it was fetched") as string,
  });
});

test("a server that never gives the same file twice is given up", async () => {
  let version = 0;
  const { url } = await serve((_, response) => {
    response.writeHead(200, { etag: `"${version++}"`, "content-length": BODY.length });
    response.write(BODY.subarray(0, 2 * MIB), () => response.socket?.destroySoon());
  });
  await expect(fetch(`${url}/a`, { retries: 9 })).rejects.toMatchObject({
    kind: "conflict",
    message: expect.stringContaining("again and again") as string,
  });
});

test("silence and a trickle end in kind timeout, a refused connection in unavailable", async () => {
  const silent = await serve(() => undefined);
  await expect(fetch(`${silent.url}/a`, { retries: 0 })).rejects.toMatchObject({
    kind: "timeout",
    message: expect.stringMatching(/no answer within 1000 ms/) as string,
  });
  const drip = await serve((_, response) => {
    response.writeHead(200, { "content-length": MIB });
    const timer = setInterval(() => response.write("x"), 50);
    response.on("close", () => {
      clearInterval(timer);
    });
  });
  await expect(fetch(`${drip.url}/a`, { retries: 1 })).rejects.toMatchObject({
    kind: "timeout",
    message: expect.stringMatching(/stalled after \d+ bytes/) as string,
  });
  await silent.close();
  servers.splice(servers.indexOf(silent), 1);
  await expect(fetch(`${silent.url}/a`, { retries: 1 })).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining("ECONNREFUSED") as string,
  });
});

test("headers that drip are not waited for", async () => {
  const server = createServer((socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    const drip = setInterval(() => socket.write("X-A: b\r\n"), 100);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(drip);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await expect(fetch(`http://127.0.0.1:${port}/a`, { retries: 0 })).rejects.toMatchObject({
    kind: "timeout",
    message: expect.stringContaining("no answer within 1000 ms") as string,
  });
  await new Promise((resolve) => server.close(resolve));
});

test("what a server says is held against it", async () => {
  const answer = (status: number, headers: object, body = "") =>
    serve((_, response) => {
      response.writeHead(status, { ...headers }).end(body);
    });
  const cases = [
    [await answer(404, {}), "notFound", /the server answers 404/],
    [await answer(401, {}), "unauthenticated", /--auth-file/],
    [await answer(403, {}), "forbidden", /403/],
    [await answer(503, {}), "unavailable", /503/],
    [await answer(418, {}), "invalid", /418/],
    [
      await answer(200, { "content-length": 65 * MIB }),
      "invalid",
      /the limit is 67108864.*max-size/,
    ],
    [await answer(200, { "content-encoding": "gzip" }), "invalid", /encoding/],
  ] as const;
  for (const [{ url }, kind, message] of cases) {
    await expect(fetch(`${url}/a`, { retries: 0 })).rejects.toMatchObject({
      kind,
      message: expect.stringMatching(message) as string,
    });
  }
  const endless = await serve((_, response) => {
    const more = (): void => {
      while (response.write(BODY));
      response.once("drain", more);
    };
    more();
  });
  await expect(fetch(`${endless.url}/a`, { maxBytes: 8 * MIB })).rejects.toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("more than the limit") as string,
  });
});

test("a part that nobody asked for is not taken for the file", async () => {
  const { url } = await serve((_, response) => {
    response.writeHead(206, { "content-range": "bytes 0-4/10" }).end("12345");
  });
  await expect(fetch(`${url}/a`)).rejects.toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("sends a part of the file") as string,
  });
});

test("no byte behind the announced length is taken", async () => {
  const raw = createServer((socket) => {
    socket.once("data", () => {
      socket.end(
        `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello, and more`,
      );
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => raw.listen(0, "127.0.0.1", resolve));
  const { port } = raw.address() as AddressInfo;
  const ended = await fetch(`http://127.0.0.1:${port}/a`).catch((cause: unknown) => cause);
  await new Promise((resolve) => raw.close(resolve));
  expect(ended).toMatchObject({
    message: expect.stringMatching(/sends more than the 5 bytes it announced/) as string,
  });
});

test("leads are followed, not for ever, not out of https, and not with credentials", async () => {
  const file = new FileServer(BODY);
  const target = await serve(file.listener);
  const asked: (string | undefined)[] = [];
  const lead = await serve((request, response) => {
    asked.push(request.headers.authorization);
    const path = request.url ?? "";
    const to =
      path === "/other" ? `${target.url}/a` : path === "/file" ? "file:///etc/shadow" : path;
    response.writeHead(302, { location: to }).end();
  });
  const host = `127.0.0.1:${lead.port}`;
  const auths = { auths: { [host]: { auth: Buffer.from("me:secret").toString("base64") } } };
  const credentials = parseAuthFile(JSON.stringify(auths), "auth.json");
  const { bytes } = await fetch(`${lead.url}/other`, { http: { credentials } });
  expect(bytes.equals(BODY)).toBe(true);
  expect(asked).toEqual([`Basic ${Buffer.from("me:secret").toString("base64")}`]);
  expect(file.asked).toEqual([{ range: undefined, authorization: undefined }]);

  const mayFollow = ({ port }: URL): boolean => port !== String(target.port);
  await expect(fetch(`${lead.url}/other`, { http: { mayFollow } })).rejects.toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining("not allowed") as string,
  });
  expect(file.asked).toHaveLength(1);

  await expect(fetch(`${lead.url}/loop`)).rejects.toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("more than 10 times") as string,
  });
  await expect(fetch(`${lead.url}/file`)).rejects.toMatchObject({ kind: "invalid" });
  const down = await serve((_, response) => {
    response.writeHead(301, { location: `${target.url}/a` }).end();
  }, tlsDir);
  const caFile = join(tlsDir, "ca.pem");
  await expect(fetch(`${down.url}/a`, { http: { caFile } })).rejects.toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("from https to http") as string,
  });
});

test("an authority of one's own is trusted when it is named", async () => {
  const { url } = await serve(new FileServer(BODY).listener, tlsDir);
  await expect(fetch(`${url}/a`)).rejects.toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining("--ca-file") as string,
  });
  const http = { caFile: join(tlsDir, "ca.pem") };
  expect((await fetch(`${url}/a`, { http, checksum: SUM })).bytes.length).toBe(BODY.length);
  for (const caFile of [join(tlsDir, "key.pem"), join(tlsDir, "none")]) {
    await expect(fetch(`${url}/a`, { http: { caFile } })).rejects.toThrow(/authorities file/);
  }
});

test("how a server of one's own is met: without trust, by another name, with a certificate of ours", async () => {
  const asked: unknown[] = [];
  const file = new FileServer(BODY);
  const tls = await serve((request, response) => {
    const { socket } = request;
    if (!(socket instanceof TLSSocket)) throw new Error("no TLS");
    const { subject } = socket.getPeerCertificate() as { subject?: { CN?: string } }; // {} for none
    asked.push([socket.servername, subject?.CN]);
    file.listener(request, response);
  }, tlsDir);
  const other = await serve((_, response) => {
    response.writeHead(302, { location: `${tls.url}/a` }).end();
  }, tlsDir);
  const [caFile, insecure] = [join(tlsDir, "ca.pem"), { insecure: true }];
  await fetch(`${tls.url}/a`, { http: { ownServer: insecure }, checksum: SUM });
  const serverName = "files.test";
  const named = fetch(`${tls.url}/a`, { http: { caFile, ownServer: { serverName } } });
  await expect(named).rejects.toMatchObject({ kind: "forbidden" }); // it is 127.0.0.1's
  const read = (name: string): string => readFileSync(join(tlsDir, name), "utf8");
  const certificate = { cert: read("cert.pem"), key: read("key.pem") };
  const own = { ...insecure, serverName, certificate };
  await fetch(`${tls.url}/a`, { http: { ownServer: own }, checksum: SUM });
  expect(asked).toEqual([
    [false, undefined],
    ["files.test", "127.0.0.1"],
  ]);
  // Whoever it leads to is met as any other.
  const led = fetch(`${other.url}/a`, { http: { ownServer: own } });
  await expect(led).rejects.toMatchObject({ kind: "forbidden" });
  await fetch(`${other.url}/a`, { http: { caFile, ownServer: own }, checksum: SUM });
  expect(asked.slice(2)).toEqual([[false, undefined]]);
});

test("as many leads are followed as one says", async () => {
  const { url } = await serve((request, response) => {
    const left = Number(request.url?.slice(1));
    if (left === 0) response.writeHead(200, { "content-length": 2 }).end("ok");
    else response.writeHead(302, { location: `/${left - 1}` }).end();
  });
  const bytes = async (leads: number, maxRedirects: number): Promise<string> =>
    (await fetch(`${url}/${leads}`, { http: { maxRedirects } })).bytes.toString();
  expect([await bytes(0, 0), await bytes(2, 2)]).toEqual(["ok", "ok"]);
  await expect(bytes(1, 0)).rejects.toThrow(/more than 0 times/);
  await expect(bytes(3, 2)).rejects.toThrow(/more than 2 times/);
});

test("proxies: by flag, by environment, but not for those that are excepted", async () => {
  const file = new FileServer(BODY);
  const [plain, tls] = [await serve(file.listener), await serve(file.listener, tlsDir)];
  const seen: string[] = [];
  const proxy = await serve((request, response) => {
    seen.push(request.url ?? "");
    file.listener(request, response);
  });
  const open = new Set<Socket>();
  const tunnel = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", (head: Buffer) => {
      const [, to = ""] = /^CONNECT (\S+)/.exec(head.toString("latin1")) ?? [];
      seen.push(`CONNECT ${to}`);
      const [host = "", port] = to.split(":");
      const there = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(there).pipe(socket);
      });
      there.on("error", () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => tunnel.listen(0, "127.0.0.1", resolve));
  const { port } = tunnel.address() as AddressInfo;
  const caFile = join(tlsDir, "ca.pem");
  try {
    await fetch(`${plain.url}/flag`, { http: { proxy: proxy.url }, checksum: SUM });
    await fetch(`${plain.url}/env`, { http: { environment: { http_proxy: proxy.url } } });
    const environment = { HTTPS_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: "" };
    await fetch(`${tls.url}/tls`, { http: { environment, caFile }, checksum: SUM });
    expect(seen).toEqual([
      `${plain.url}/flag`,
      `${plain.url}/env`,
      `CONNECT 127.0.0.1:${tls.port}`,
    ]);
    const excepted = { HTTP_PROXY: proxy.url, NO_PROXY: "127.0.0.1" };
    await fetch(`${plain.url}/own`, { http: { environment: excepted } });
    expect(seen).toHaveLength(3);
  } finally {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => tunnel.close(resolve));
  }
  await expect(fetch(`${plain.url}/a`, { http: { proxy: "socks5://x:1" } })).rejects.toThrow(
    /http:\/\/HOST/,
  );
});

test.each([
  ["ftp://x/a", /http and https/],
  ["http://me:secret@x/a", /--auth-file/],
  ["http://", /cannot be read/],
])("the URL %s is refused without its secrets", (text, says) => {
  expect(() => parseUrl(text)).toThrow(says);
  expect(() => parseUrl(text)).not.toThrow(/secret/);
});

test.each(["", "[]", "{}", '{"auths":{"x":{}}}', '{"auths":{"x":{"auth":"c2VjcmV0"}}}'])(
  "the credentials file %j is refused without its content",
  (text) => {
    expect(() => parseAuthFile(text, "auth.json")).toThrow(/credentials file "auth.json"/);
    expect(() => parseAuthFile(text, "auth.json")).not.toThrow(/secret|c2Vj/);
  },
);

// Virtlet's names of images, pulled by CRI from a server of the test's own into a real containerd.
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";
import { startContainerd, tinyGuestDisk } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CONFIG_VERSION, parseConfig } from "../config.ts";
import { keepGateway } from "../gateway.ts";
import type { KeptGateway } from "../gateway.ts";

const MAIN = join(import.meta.dirname, "../main.ts");
const MS = 300_000;

let dir: string;
let containerd: Containerd;
let server: Server;
let disk: Buffer;
let tag = '"first"';
let asked: { url: string; authorization: string | undefined; status: number }[] = [];
let gateway: KeptGateway | undefined;
let cri: CriClient;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tu-"));
  disk = await readFile(await tinyGuestDisk());
  server = createServer((request, response) => {
    const { url = "", headers } = request;
    const told = { url, authorization: headers.authorization };
    response.once("close", () => asked.push({ ...told, status: response.statusCode }));
    if (url.startsWith("/none")) response.writeHead(404).end();
    else if (url.startsWith("/secret") && headers.authorization === undefined)
      response.writeHead(401).end();
    else if (headers["if-none-match"] === tag) response.writeHead(304).end();
    else response.writeHead(200, { "content-length": disk.length, etag: tag }).end(disk);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await mkdir(join(dir, "mappings"));
  await writeFile(
    join(dir, "mappings/images.yaml"),
    `
translations:
- {name: tiny, url: "http://127.0.0.1:${port}/Tiny.QCOW2"}
- {name: none, url: "http://127.0.0.1:${port}/none"}
- {name: secret, url: "http://127.0.0.1:${port}/secret"}
`,
  );
  containerd = await startContainerd({ version: "2.4", dir: join(dir, "c") });
  const config = parseConfig(
    `
apiVersion: ${CONFIG_VERSION}
gateway:
  socket: ${join(dir, "cri.sock")}
  backEnds: [{name: c, socket: ${containerd.socket}}]
  urlImages: {mappings: ${join(dir, "mappings")}}
`,
    "test",
  ).gateway;
  gateway = await keepGateway({
    config,
    metrics: { watchGateway: () => () => undefined },
    log: pino({ level: "silent" }),
    rootDir: dir,
    program: [process.execPath, MAIN],
  });
  cri = createCriClient(config.socket);
}, MS);

afterAll(async () => {
  cri.close();
  await gateway?.stop();
  expect(await containerd.stop()).toEqual([]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true });
}, MS);

function pull(image: string, auth: { username?: string; password?: string } = {}): Promise<string> {
  const request = { image: { image }, auth };
  return cri.images.pullImage(request, { timeoutMs: MS }).then(({ imageRef }) => imageRef);
}

test(
  "a mapped name becomes an image, fetched once for all who ask, and is removed as any other",
  async () => {
    const name = "virtlet.cloud/tiny";
    expect((await cri.images.imageStatus({ image: { image: name } })).image).toBeUndefined();
    asked = [];
    const ids = await Promise.all([pull(name), pull(name), pull(name)]);
    expect(asked.map(({ url }) => url)).toEqual(["/Tiny.QCOW2"]);
    const { image } = await cri.images.imageStatus({ image: { image: name } });
    expect(new Set(ids)).toEqual(new Set([image?.id]));
    expect(image?.repoTags).toEqual(["virtlet.cloud/tiny:latest"]);
    expect(image?.size).toBeGreaterThanOrEqual(disk.length / 2);
    await cri.images.removeImage({ image: { image: name } });
    expect((await cri.images.imageStatus({ image: { image: name } })).image).toBeUndefined();
    expect(await readdir(join(dir, "imports"))).toEqual([]);
  },
  MS,
);

test(
  "a file that has not changed is not fetched anew, one that has is",
  async () => {
    const name = "virtlet.cloud/tiny:again";
    const id = await pull(name);
    asked = [];
    expect(await pull(name)).toBe(id);
    expect(asked).toMatchObject([{ url: "/Tiny.QCOW2", status: 304 }]);
    tag = '"second"';
    asked = [];
    await pull(name);
    expect(asked.at(-1)).toMatchObject({ url: "/Tiny.QCOW2", status: 200 });
    asked = [];
    await pull(name);
    expect(asked).toMatchObject([{ status: 304 }]);
  },
  MS,
);

test(
  "a digest is that of the file, and credentials are for its server",
  async () => {
    const hex = createHash("sha256").update(disk).digest("hex");
    const wrong = `virtlet.cloud/tiny@sha256:${"0".repeat(64)}`;
    await expect(pull(wrong)).rejects.toMatchObject({ kind: "invalid" });
    expect((await cri.images.imageStatus({ image: { image: wrong } })).image).toBeUndefined();
    const right = `virtlet.cloud/tiny@sha256:${hex}`;
    const id = await pull(right);
    expect((await cri.images.imageStatus({ image: { image: right } })).image?.id).toBe(id);

    await expect(pull("virtlet.cloud/secret")).rejects.toThrow(/401/);
    asked = [];
    await pull("virtlet.cloud/secret", { username: "me", password: "word" });
    expect(asked).toEqual([{ url: "/secret", authorization: "Basic bWU6d29yZA==", status: 200 }]);
  },
  MS,
);

test(
  "what cannot be fetched is refused with the reason",
  async () => {
    await expect(pull("virtlet.cloud/none")).rejects.toThrow(/404/);
    const meta = pull("virtlet.cloud/169.254.169.254/latest");
    await expect(meta).rejects.toMatchObject({ kind: "forbidden" });
    expect(await readdir(join(dir, "imports"))).toEqual([]);
  },
  MS,
);

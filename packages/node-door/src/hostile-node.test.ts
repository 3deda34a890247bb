import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeAuthority } from "@trine/testkit";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openDoor } from "./index.ts";
import type { DoorCredentials, NodeDoor } from "./index.ts";

const REF = { namespace: "default", pod: "vm", uid: "u1" };

let dir: string;
let credentials: DoorCredentials;
let server: Server;
let door: NodeDoor;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-door-"));
  const authority = await KubeAuthority.create(dir);
  const { cert, key } = await authority.sign("node", { user: "trine-node:n", names: ["n"] });
  const [certificate = "", secret = "", ca = ""] = await Promise.all(
    [cert, key, authority.cert].map((file) => readFile(file, "utf8")),
  );
  credentials = { certificate, key: secret, authority: ca };
}, 60_000);

afterAll(() => rm(dir, { recursive: true }));

afterEach(() => {
  door.close();
  server.closeAllConnections();
  server.close();
});

/** A node that somebody took over. */
async function taken(answer: RequestListener): Promise<NodeDoor> {
  server = createServer({ key: credentials.key, cert: credentials.certificate }, answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  door = openDoor({ node: "n", host: "127.0.0.1", port, credentials: () => credentials });
  return door;
}

test.each([
  ["no JSON", "<html>"],
  ["another shape", '{"items":[{"phase":"great"}]}'],
  ["half an answer", '{"items":['],
  ["more machines than a node has", `{"items":[${"{},".repeat(5_000)}{}]}`],
])("an answer that is %s is malformed", async (_, body) => {
  await taken((_request, response) => response.end(body));
  await expect(door.machines()).rejects.toMatchObject({ kind: "malformed" });
});

test("an answer without an end is given up when it is too large", async () => {
  await taken((_request, response) => {
    const more = (): void => {
      if (response.destroyed) return;
      response.write("x".repeat(256 * 1024));
      setImmediate(more);
    };
    more();
  });
  await expect(door.machine(REF)).rejects.toMatchObject({ kind: "malformed" });
});

test("what a node says when it refuses is cut and cleaned, and its kind is one of ours", async () => {
  let body = JSON.stringify({ kind: "conflict", message: `\u001b[2J${"x".repeat(10_000)}` });
  await taken((_request, response) => response.writeHead(409).end(body));
  const refused = (await door.act(REF, "pause").catch((cause: unknown) => cause)) as Error;
  expect(refused).toMatchObject({ kind: "conflict" });
  expect(refused.message.length).toBeLessThan(1_200);
  expect(refused.message).not.toContain("\u001b");
  body = '{"kind":"root","message":1}';
  await expect(door.act(REF, "pause")).rejects.toMatchObject({ kind: "wrongState" });
});

test.each([
  ["does not begin with its state", '{"type":"alive"}\n'],
  ["says its state twice", '{"type":"state","items":[]}\n{"type":"state","items":[]}\n'],
  ["is no JSON", '{"type":"state","items":[]}\nhello\n'],
])("a watch that %s is lost, and its kind is malformed", async (_, lines) => {
  await taken((_request, response) => response.write(lines));
  const over = new AbortController();
  const seen: string[] = [];
  for await (const event of door.watch(over.signal)) {
    seen.push(event.type === "lost" ? event.why.kind : event.type);
    if (event.type === "lost") break;
  }
  over.abort();
  expect(seen.at(-1)).toBe("malformed");
});

import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { foundImports, openUpload } from "./door-imports.ts";
import type { DoorEngine, DoorPod } from "./door-machines.ts";

const REF = { namespace: "shop", pod: "import-root", uid: "u1", container: "import" };

let dir: string;
let servers: Server[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-door-imports-"));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) server.close();
  await rm(dir, { recursive: true });
});

async function serveAt(name: string, word: string): Promise<string> {
  const path = join(dir, name);
  const server = createServer((socket) => socket.end(word));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

/** A node with one pod that says `words` of its imports. */
function node(words: readonly unknown[], socket = join(dir, "upload.sock")): DoorEngine {
  const identity = { podNamespace: REF.namespace, name: REF.pod, uid: REF.uid };
  const imports = () => Promise.resolve(words.map((word) => ({ container: REF.container, word })));
  const pod = { identity, imports, uploadSocket: () => socket } as unknown as DoorPod;
  return { machinePods: () => Promise.resolve([pod]) } as unknown as DoorEngine;
}

const WAITING = { state: "waiting", progress: 0 };

test("imports are told with their pod; what says nothing of their shape is left out", async () => {
  const words = [WAITING, "running", { state: "flying", progress: 1 }, { state: "done" }, null];
  expect(await foundImports(node(words))).toEqual([{ ...REF, ...WAITING }]);
});

test("an upload goes to the import that waits for it", async () => {
  await serveAt("upload.sock", "here I am");
  const stream = await openUpload(node([WAITING]), REF);
  let heard = "";
  await new Promise<void>((resolve) => {
    const caller = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        heard += chunk.toString();
        done();
      },
      final: (done) => {
        done();
        resolve();
      },
    });
    stream.join(caller);
  });
  expect(heard).toBe("here I am");
  stream.close();
});

test("a link in the socket's place, or what is no socket, is not followed", async () => {
  const other = await serveAt("of-the-node.sock", "secret");
  await symlink(other, join(dir, "link.sock"));
  await writeFile(join(dir, "file.sock"), "");
  for (const name of ["link.sock", "file.sock", "absent.sock"]) {
    const opened = openUpload(node([WAITING], join(dir, name)), REF);
    await expect(opened).rejects.toMatchObject({ kind: "wrongState" });
  }
});

test.each([
  ["another pod of the name", { uid: "u2" }, "conflict"],
  ["a pod that is not here", { pod: "other" }, "notFound"],
  ["a container that is no import", { container: "web" }, "notFound"],
])("%s is refused", async (_what, changed, kind) => {
  const opened = openUpload(node([WAITING]), { ...REF, ...changed });
  await expect(opened).rejects.toMatchObject({ kind });
});

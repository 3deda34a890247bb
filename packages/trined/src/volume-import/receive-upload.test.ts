import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, statfs } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil, sleep } from "@trine/base";
import { UploadFrames } from "@trine/node-door";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { receiveUpload } from "./receive-upload.ts";
import { Says } from "./says.ts";

vi.mock(import("node:fs/promises"), async (load) => {
  const all = await load();
  return { ...all, statfs: vi.fn(all.statfs) as typeof all.statfs };
});

const MIB = 1024 * 1024;
const DISK = Buffer.alloc(MIB, "disk");

let dir: string;
let stop: AbortController;
let received: Promise<void>;
let used: Buffer[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-upload-"));
  stop = new AbortController();
  used = [];
});

afterEach(async () => {
  stop.abort();
  await received.catch(() => undefined);
  await rm(dir, { recursive: true });
});

function receive({ silentMs = 30_000, maxBytes = 4 * MIB, reads = true } = {}): void {
  const { signal } = stop;
  received = receiveUpload(
    { says: new Says(dir), workDir: dir, maxBytes, silentMs, signal },
    async (file) => {
      if (reads) used.push(await readFile(file));
    },
  );
}

async function upload(...bytes: readonly Buffer[]): Promise<string> {
  const path = join(dir, "upload.sock");
  const socket = await pollUntil("it listens", { ms: 10_000 }, async () => {
    const tried = connect({ path, allowHalfOpen: true });
    const isOpen = await once(tried, "connect").then(
      () => true,
      () => false,
    );
    return isOpen ? tried : undefined;
  });
  for (const each of bytes) socket.write(each);
  return text(socket);
}

const WHOLE = [...UploadFrames.part(DISK), UploadFrames.end()];

test("what is too much, or more than the node's disk takes, is refused, and the next one is waited for", async () => {
  receive({ maxBytes: MIB });
  expect(await upload(...UploadFrames.part(DISK), ...WHOLE)).toMatch(
    /"invalid".*more than 1048576/,
  );
  const full = await statfs(dir);
  full.bavail = Math.floor((256 * MIB + 1_000) / full.bsize);
  vi.mocked(statfs).mockResolvedValueOnce(full);
  expect(await upload(...WHOLE)).toMatch(/"exhausted".*the node's disk has room/);
  expect(await upload(...WHOLE)).toBe('{"received":true}\n{"done":true}\n');
  expect(used).toEqual([DISK]);
});

test("a client that says nothing is left, a disk that stalls is waited for", async () => {
  const silentMs = 300;
  // The file is a pipe that nobody reads for longer than a client may be silent.
  execFileSync("mkfifo", [join(dir, "upload")]);
  const reader = spawn("sh", [
    "-c",
    `exec 3<"$1"; read -r go; cat <&3 | wc -c`,
    "sh",
    join(dir, "upload"),
  ]);
  receive({ silentMs, reads: false });
  const answer = upload(...WHOLE);
  await sleep(3 * silentMs);
  reader.stdin.end("go\n");
  const [count] = await Promise.all([text(reader.stdout), received.catch(() => undefined)]);
  expect(Number(count)).toBe(DISK.length);
  expect(await answer).toContain('{"received":true}');
});

test("a client that sends nothing more is left, and the next one is waited for", async () => {
  receive({ silentMs: 100 });
  await upload(...UploadFrames.part(DISK));
  expect(await upload(...WHOLE)).toContain('{"done":true}');
});

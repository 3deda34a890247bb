import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { TrineError, kindOf, pollUntil } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { giveToAll, takeFromOne } from "./copy-sides.ts";
import { Says } from "./says.ts";

const DISK = randomBytes(3 * 1024 * 1024);

let dir: string;
let stop: AbortController;
let side: Promise<void>;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-sides-"));
  stop = new AbortController();
  side = Promise.resolve();
});

afterEach(async () => {
  stop.abort(new TrineError("canceled", "the pod is ended"));
  await side.catch(() => undefined);
  await rm(dir, { recursive: true });
});

function come(): Promise<Socket> {
  const path = join(dir, "upload.sock");
  return pollUntil("it listens", { ms: 10_000 }, async () => {
    const tried = connect({ path, allowHalfOpen: true });
    return once(tried, "connect").then(
      () => tried,
      () => undefined,
    );
  });
}

function of(silentMs = 30_000): Parameters<typeof takeFromOne>[0] {
  return { says: new Says(dir), silentMs, signal: stop.signal };
}

async function* parts(): AsyncGenerator<Buffer> {
  for (let at = 0; at < DISK.length; at += 100_000) {
    yield await Promise.resolve(DISK.subarray(at, at + 100_000));
  }
}

test("a giver gives all of it to each who comes, also after one that left in the middle", async () => {
  side = giveToAll(of(), parts);
  expect((await buffer(await come())).equals(DISK)).toBe(true);
  const left = await come();
  await once(left, "readable");
  left.destroy();
  expect((await buffer(await come())).equals(DISK)).toBe(true);
  stop.abort(new TrineError("canceled", "the pod is ended"));
  expect(kindOf(await side.catch((cause: unknown) => cause))).toBe("canceled");
});

test("a giver that cannot read ends, and says why", async () => {
  side = giveToAll(of(), () => {
    throw new TrineError("invalid", "that is no disk");
  });
  side.catch(() => undefined);
  expect(await text(await come())).toBe("");
  await expect(side).rejects.toMatchObject({ message: "that is no disk" });
});

/** What a taker was sent; it wants all of a disk. */
async function wanted(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    all.push(chunk);
    bytes += chunk.length;
    if (bytes >= DISK.length) return Buffer.concat(all);
  }
  throw new TrineError("canceled", `cut off after ${bytes} bytes`);
}

test("a taker waits for the next one where it was cut off, and answers the one that gave all", async () => {
  let taken = Buffer.alloc(0);
  let tries = 0;
  side = takeFromOne(of(), async (chunks) => {
    tries += 1;
    taken = Buffer.from(await wanted(chunks));
  });
  const first = await come();
  first.end(DISK.subarray(0, 1_000));
  expect(await text(first)).toMatch(/"canceled".*cut off after 1000 bytes/);
  const second = await come();
  second.write(DISK);
  expect(await text(second)).toBe('{"done":true}\n');
  await side;
  expect(tries).toBe(2);
  expect(taken.equals(DISK)).toBe(true);
});

test("a taker leaves one that says nothing", async () => {
  side = takeFromOne(of(100), async (chunks) => {
    await wanted(chunks);
  });
  const silent = await come();
  await text(silent);
  silent.destroy();
  const second = await come();
  second.write(DISK);
  expect(await text(second)).toContain('{"done":true}');
  await side;
});

test("a taker that gets no disk for its volume says so, and ends", async () => {
  side = takeFromOne(of(), () => Promise.reject(new TrineError("invalid", "it is too large")));
  side.catch(() => undefined);
  const socket = await come();
  socket.write("x");
  expect(await text(socket)).toMatch(/"invalid".*it is too large/);
  await expect(side).rejects.toMatchObject({ kind: "invalid" });
});

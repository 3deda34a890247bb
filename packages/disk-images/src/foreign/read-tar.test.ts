import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TAR_END, tarHeader } from "../tar-header.ts";
import { readTar } from "./read-tar.ts";
import type { TarMember } from "./read-tar.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-tar-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function read(blocks: readonly Buffer[], signal?: AbortSignal): Promise<TarMember[]> {
  const archive = Buffer.concat([...blocks, TAR_END]);
  const handle = await open(join(dir, "a.tar"), "w+");
  try {
    await handle.write(archive);
    return await readTar({ handle, offset: 0, sizeBytes: archive.length }, signal);
  } finally {
    await handle.close();
  }
}

/** Headers of empty files, or of nothing (pax). */
function headers(count: number, isPax = false): Buffer[] {
  return Array.from({ length: count }, (_, i) => {
    const header = tarHeader({ name: `f${i}`, mode: 0o644, sizeBytes: 0, type: "file" });
    if (!isPax) return header;
    header.write("x", 156, "latin1");
    header.fill(0x20, 148, 156);
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return header;
  });
}

test("64 headers are read and no more, whether of files or of nothing", async () => {
  expect(await read([...headers(40, true), ...headers(24)])).toHaveLength(24);
  await expect(read([...headers(40, true), ...headers(25)])).rejects.toThrow(/more than 64/);
  await expect(read(headers(65, true))).rejects.toThrow(/more than 64/);
  await expect(read(headers(65))).rejects.toThrow(/more than 64/);
});

test("reading ends when it is given up", async () => {
  const signal = AbortSignal.abort(new Error("given up"));
  await expect(read(headers(1), signal)).rejects.toThrow("given up");
});

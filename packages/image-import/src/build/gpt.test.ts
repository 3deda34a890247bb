import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "@trine/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FIRST_SECTOR, LAST_SECTORS, SECTOR, partitionTables } from "./gpt.ts";

const DISK_ID = "11111111-2222-4333-8444-555555555555";
const SECTORS = 131_072;
const ROOT = {
  type: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
  id: "AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE",
  name: "root",
  startSector: 2048,
  sectors: 4096,
};

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-gpt-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function diskWith(change: (head: Buffer) => void): Promise<string> {
  const { head, tail } = partitionTables(DISK_ID, SECTORS, [ROOT]);
  change(head);
  const path = join(dir, "disk");
  await using file = await open(path, "w");
  await file.truncate(SECTORS * SECTOR);
  await file.write(head, 0, head.length, 0);
  await file.write(tail, 0, tail.length, SECTORS * SECTOR - tail.length);
  return path;
}

/** What util-linux sees, which trusts a table by its checksums only. */
function seen(path: string): Promise<string> {
  return runCommand("blkid", ["-p", "-o", "export", path]);
}

test("the table is one that others read", async () => {
  const found = await seen(await diskWith(() => undefined));
  expect(found).toContain("PTTYPE=gpt\n");
  expect(found).toContain(`PTUUID=${DISK_ID}\n`);
});

test("without the first header the second is found", async () => {
  const path = await diskWith((head) => head.fill(0, SECTOR, 2 * SECTOR));
  expect(await seen(path)).toContain(`PTUUID=${DISK_ID}\n`);
});

test("an entry has its type, place and name where they belong", () => {
  const { head, tail } = partitionTables(DISK_ID, SECTORS, [ROOT]);
  expect(head.length).toBe(FIRST_SECTOR * SECTOR);
  expect(tail.length).toBe(LAST_SECTORS * SECTOR);
  const entry = head.subarray(2 * SECTOR, 2 * SECTOR + 128);
  expect(entry.subarray(0, 16).toString("hex")).toBe("e3bc684fcde8b14d96e7fbcaf984b709");
  expect([entry.readBigUInt64LE(32), entry.readBigUInt64LE(40)]).toEqual([2048n, 6143n]);
  expect(entry.toString("utf16le", 56, 64)).toBe("root");
  expect(tail.subarray(0, 128).equals(entry)).toBe(true);
});

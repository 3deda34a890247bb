import { expect, test } from "vitest";
import { heldBeside, overheadOf } from "./overhead.ts";

const MIB = 1024 * 1024;
const SMAPS = [
  "55d0c0000000-55d0c0100000 r-xp 00000000 fe:00 1 /usr/bin/qemu",
  "Size:               1024 kB",
  "Pss:                 512 kB",
  "Pss_Dirty:           100 kB",
  "Anonymous:             8 kB",
  "7e0000000000-7e0000200000 rw-s 00000000 00:01 7 /memfd:small (deleted)",
  "Pss:                  20 kB",
  "Anonymous:             0 kB",
  "7f0000000000-7f0004000000 rw-p 00000000 00:00 0",
  "Pss:               60000 kB",
  "7f0005000000-7f0005001000 rw-p 00000000 00:00 0",
  "Pss:                   4 kB",
].join("\n");

test("the mapping as large as the guest's memory is the guest's, the rest is overhead, but for files as they are", () => {
  expect(heldBeside(SMAPS, 64 * MIB)).toBe(32 * 1024);
  expect(heldBeside(SMAPS, 128 * MIB)).toBe(60_032 * 1024);
  expect(heldBeside("", MIB)).toBe(0);
});

test("a process holds something, one that is gone nothing", async () => {
  expect(await overheadOf([process.pid], 2 ** 50)).toBeGreaterThan(MIB);
  expect(await overheadOf([2 ** 22 + 1], MIB)).toBe(0);
});

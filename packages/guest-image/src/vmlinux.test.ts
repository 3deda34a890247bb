import { spawnSync } from "node:child_process";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { bzImage, elfWithSegments, sampleKernel } from "./testing.ts";
import { extractVmlinux, kernelRelease } from "./vmlinux.ts";

const { signal } = new AbortController();
const KERNEL = sampleKernel("6.1.0-9-amd64");

/** As the kernel's build does it: the size behind whatever has none of its own. */
function withSize(compressed: Buffer, size = KERNEL.length): Buffer {
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(size);
  return Buffer.concat([compressed, tail]);
}

function piped(program: string, ...args: string[]): Buffer {
  const { stdout, status } = spawnSync(program, args, { input: KERNEL });
  expect(status).toBe(0);
  return withSize(stdout);
}

test.each([
  ["gzip", () => gzipSync(KERNEL)],
  ["zstd", () => withSize(zstdCompressSync(KERNEL))],
  ["xz", () => piped("xz", "--check=crc32")],
  ["lzma", () => piped("xz", "--format=lzma")],
  ["lz4", () => piped("lz4", "-l", "-c")],
  ["bzip2", () => piped("bzip2")],
])("a kernel compressed with %s comes out whole", async (_, payload) => {
  expect(await extractVmlinux("k", bzImage(payload()), signal)).toEqual(KERNEL);
});

test("an uncompressed kernel is taken as it is", async () => {
  expect(await extractVmlinux("k", KERNEL, signal)).toBe(KERNEL);
  expect(kernelRelease("k", KERNEL)).toBe("6.1.0-9-amd64");
});

test.each([
  ["nothing", Buffer.alloc(0), /neither a bzImage nor an ELF/],
  ["text", Buffer.alloc(5000, "x"), /neither a bzImage nor an ELF/],
  ["one cut off", bzImage(gzipSync(KERNEL)).subarray(0, -9), /cut off, \d+ bytes are wanted/],
  ["damaged data", bzImage(gzipSync(KERNEL).fill(7, 20, 40)), /decompress gzip/],
  ["an unknown format", bzImage(Buffer.alloc(64, 1)), /no known way \(begins 010101010101\)/],
  ["more than it says", bzImage(withSize(zstdCompressSync(KERNEL), 10)), /decompress zstd/],
  ["less than it says", bzImage(withSize(zstdCompressSync(KERNEL), 9999)), /instead of 9999/],
  ["a giant", bzImage(withSize(zstdCompressSync(KERNEL), 0xffff_ffff)), /4294967295 bytes/],
  ["an empty payload", bzImage(Buffer.alloc(0)), /holds no kernel/],
  ["no PVH entry", elfWithSegments([{ type: 1, data: Buffer.alloc(9) }]), /without PVH entry/],
  ["half an ELF file", KERNEL.subarray(0, 100), /cut off/],
  ["an ELF header alone", KERNEL.subarray(0, 20), /no ELF file/],
])("%s is refused in one line", async (_, file, says) => {
  const result = extractVmlinux("/k", file, signal);
  await expect(result).rejects.toThrow(says);
  await expect(result).rejects.toMatchObject({ kind: "invalid" });
  await expect(result).rejects.toThrow(/^\/k: [^\n]*$/);
});

test("a kernel that does not say which it is is refused", () => {
  expect(() => kernelRelease("k", Buffer.from("Linux version %s"))).toThrow("which Linux");
});

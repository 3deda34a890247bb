import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withTempDir } from "@trine/testkit";
import { expect, test } from "vitest";
import { checkErofs, uuidOfChain } from "./erofs-file.ts";

const CHAIN = "00112233445566778899aabbccddeeff".repeat(2);
const UUID = "00112233-4455-6677-8899-aabbccddeeff";

function image(change: (bytes: Buffer) => Buffer | undefined = () => undefined): Buffer {
  const bytes = Buffer.alloc(3 * 4096);
  bytes.writeUInt32LE(0xe0f5e1e2, 1024);
  bytes[1024 + 12] = 12;
  bytes.writeUInt32LE(3, 1024 + 36);
  bytes.write(CHAIN.slice(0, 32), 1024 + 48, "hex");
  return change(bytes) ?? bytes;
}

async function check(bytes: Buffer): Promise<void> {
  await withTempDir(async (dir) => {
    const path = join(dir, "image");
    await writeFile(path, bytes);
    await checkErofs(path, uuidOfChain(CHAIN));
  });
}

test("a whole file of the image is good", async () => {
  expect(uuidOfChain(CHAIN)).toBe(UUID);
  await check(image());
});

test.each([
  ["cut short", (b: Buffer) => b.subarray(0, -4096), "8192 bytes where its superblock says 12288"],
  ["cut in the superblock", (b: Buffer) => b.subarray(0, 1100), "no erofs"],
  ["empty", () => Buffer.alloc(0), "no erofs"],
  ["longer", (b: Buffer) => Buffer.concat([b, Buffer.alloc(1)]), "12289 bytes"],
  ["of other blocks", (b: Buffer) => void (b[1036] = 9), "blocks of another size"],
  ["another image's", (b: Buffer) => void b.fill(7, 1024 + 48, 1024 + 64), "another file system's"],
])("a file that is %s is not", async (_, change, why) => {
  await expect(check(image(change as (b: Buffer) => Buffer | undefined))).rejects.toThrow(why);
});

import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { probeDisk } from "./probe-disk.ts";
import { readZip } from "./read-zip.ts";
import type { ZipMember } from "./read-zip.ts";
import { zipBytes } from "./zip-testing.ts";
import type { ZipFile } from "./zip-testing.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-zip-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function read(archive: Buffer, wanted?: string): Promise<ZipMember> {
  await using handle = await open(join(dir, "a.zip"), "w+");
  await handle.write(archive);
  return await readZip({ handle, offset: 0, sizeBytes: archive.length }, wanted);
}

const DISK: ZipFile = { name: "disk.raw", bytes: Buffer.from("a disk ".repeat(99)) };

/** What the member's bytes unpack to. */
function unpacked(archive: Buffer, { offset, packedBytes, method }: ZipMember): Buffer {
  const packed = archive.subarray(offset, offset + packedBytes);
  return method === "deflate" ? inflateRawSync(packed) : packed;
}

test.each<[string, ZipFile[], string?]>([
  ["deflated", [DISK]],
  ["stored", [{ ...DISK, method: 0 }]],
  ["with 64 bit numbers", [{ ...DISK, is64: true }]],
  [
    "in directories",
    [
      { name: "vm/", bytes: Buffer.alloc(0) },
      { ...DISK, name: "vm/a/disk..1" },
    ],
  ],
  ["with a Unix mode", [{ ...DISK, mode: 0o100644 }]],
  ["by its name among others", [{ ...DISK, name: "b", bytes: Buffer.from("b") }, DISK], "disk.raw"],
  ["alone, whatever is named: that may be in it", [DISK], "in-it.vmdk"],
])("the file of an archive is found: %s", async (_, files, wanted) => {
  const archive = zipBytes(files, "a comment with PK\x05\x06 and twenty bytes after it");
  const member = await read(archive, wanted);
  expect(unpacked(archive, member)).toEqual(DISK.bytes);
  expect(member.unpackedBytes).toBe(DISK.bytes.length);
});

const more = (change: Partial<ZipFile>): Buffer => zipBytes([{ ...DISK, ...change }]);
const changed = (at: number, change: (bytes: Buffer, end: number) => void): Buffer => {
  const bytes = zipBytes([DISK]);
  change(bytes, bytes.length + at);
  return bytes;
};

test.each<[string, Buffer, RegExp, string?]>([
  ["no file", zipBytes([]), /without a file/],
  [
    "several files",
    zipBytes([DISK, { ...DISK, name: "b" }]),
    /2 files \("disk.raw", "b"\): --disk/,
  ],
  ["not the one that is named", zipBytes([DISK, { ...DISK, name: "b" }]), /no file "c"/, "c"],
  ["one name twice", zipBytes([DISK, DISK]), /twice/],
  ["65 files", zipBytes(Array.from({ length: 65 }, (_, i) => ({ ...DISK, name: `d${i}` }))), /64/],
  ["a name that leads out", more({ name: "../disk" }), /"\.\.\/disk": plain paths/],
  ["a name that leads out within", more({ name: "a/../../disk" }), /plain paths/],
  ["a name from the root", more({ name: "/etc/passwd" }), /plain paths/],
  ["a name of another system", more({ name: "a\\..\\b" }), /plain paths/],
  ["a name with a control character", more({ name: "a\u001b[2J" }), /plain paths/],
  ["no name", more({ name: "" }), /plain paths/],
  ["a directory that holds bytes", more({ name: "a/" }), /no file/],
  ["a link", more({ mode: 0o120777 }), /a link or no file/],
  ["a device", more({ mode: 0o060600 }), /a link or no file/],
  ["an encrypted file", more({ flags: 1 }), /"disk\.raw" encrypted/],
  ["a strongly encrypted file", more({ flags: 0x41 }), /encrypted/],
  ["an unknown method", more({ method: 9 }), /method 9: stored, deflate/],
  ["two lengths of a stored file", more({ method: 0, says: 5 }), /two sizes/],
  ["another name inside", more({ innerName: "disk.row" }), /two things of "disk\.raw"/],
  ["one part of several", more({ disk: 1 }), /one part/],
  ["no end", zipBytes([DISK]).subarray(0, -1), /has no end/],
  ["a list behind its end", changed(-6, (bytes, at) => bytes.writeUInt32LE(9999, at)), /list lies/],
  ["more entries than its list", changed(-12, (b, at) => b.writeUInt16LE(3, at)), /archive's list/],
  ["a list that is none", changed(-6, (bytes, at) => bytes.writeUInt32LE(0, at)), /archive's list/],
  [
    "64 bit numbers that are not there",
    changed(-6, (b, at) => b.fill(0xff, at, at + 4)),
    /zip arch/,
  ],
  ["absurd 64 bit numbers", more({ is64: true, says: 2 ** 60 }), /a size in the archive/],
])("an archive with %s is refused", async (_, archive, says, wanted) => {
  await expect(read(archive, wanted)).rejects.toMatchObject({
    ...{ kind: "invalid", message: expect.stringMatching(says) as string },
  });
});

test("each byte of an archive changed: a member within the file, or one clear refusal", async () => {
  const good = zipBytes([
    { ...DISK, is64: true },
    { ...DISK, name: "b", method: 0 },
  ]);
  for (let at = 0; at < good.length; at++) {
    const bytes = Buffer.from(good);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    try {
      const { offset, packedBytes } = await read(bytes, "b");
      expect(offset + packedBytes).toBeLessThanOrEqual(good.length);
    } catch (cause) {
      expect(cause, `byte ${at}`).toMatchObject({ name: "TrineError", kind: "invalid" });
    }
  }
});

test("probeDisk knows an archive by its first bytes", async () => {
  await using handle = await open(join(dir, "x.qcow2"), "w+");
  await handle.write(zipBytes([DISK]));
  expect(await probeDisk(handle, "x")).toMatchObject({
    ...{ kind: "zipped", member: { name: "disk.raw", method: "deflate" } },
  });
});

// Zip archives for the tests of imports: of a disk in each method, and such as nobody should take.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { qcow2Bytes, zipBytes } from "@trine/disk-images/testing";
import type { ZipFile } from "@trine/disk-images/testing";

const MIB = 1024 * 1024;

export interface HostileFile {
  readonly name: string;
  readonly bytes: () => Buffer;
  /** Words of the reason. */
  readonly says: RegExp;
}

/** Of what `makeFiles` has made in the same directory. */
export async function makeZips(dir: string): Promise<void> {
  const read = (name: string): Buffer => readFileSync(join(dir, name));
  const write = (name: string, ...files: ZipFile[]): Promise<void> =>
    writeFile(join(dir, name), zipBytes(files));
  const directory = { name: "vm/", bytes: Buffer.alloc(0) };
  await write("disk.zip", directory, { name: "vm/disk.vmdk", bytes: read("stream.vmdk") });
  const full = read("full.raw");
  const stored = { name: "a.raw", bytes: full, method: 0 };
  await write("two.zip", stored, { name: "b.vhdx", bytes: read("disk.vhdx"), is64: true });
  for (const [program, method] of [
    ["bzip2", 12],
    ["zstd", 93],
    ["xz", 95],
  ] as const) {
    const packed = execFileSync(program, ["-c"], { input: full });
    await write(`${program}.zip`, { name: "full.raw", bytes: full, method, packed });
  }
}

/** What an import refuses. */
export function HOSTILE_ZIPS(dir: string): readonly HostileFile[] {
  const read = (name: string): Buffer => readFileSync(join(dir, name));
  const zip = (bytes: Buffer, more: Partial<ZipFile> = {}): Buffer =>
    zipBytes([{ name: "disk", bytes, ...more }]);
  const file = (name: string, bytes: () => Buffer, says: RegExp): HostileFile => ({
    ...{ name: `zip ${name}`, bytes, says },
  });
  const backingFile = join(dir, "secret");
  return [
    file("cut off", () => read("disk.zip").subarray(0, -10), /zip archive has no end/),
    file("in gzip", () => gzipSync(read("disk.zip")), /packed twice/),
    file("of gzip", () => zip(gzipSync(read("full.raw"))), /packed twice/),
    file("of a backing file", () => zip(qcow2Bytes({ backingFile })), /backing file/),
    file("of two files", () => read("two.zip"), /of 2 files \("a\.raw", "b\.vhdx"\): --disk/),
    file(
      "with damaged data",
      () => damaged(read("disk.zip")),
      // What a damaged stream says is as its bytes are, which no two disks have alike.
      /gzip refuses it|other bytes|unpacks to more than/,
    ),
    file(
      "that says too little",
      () => zip(Buffer.alloc(64 * MIB), { says: MIB }),
      /unpacks to more than the 1048576 bytes|gzip refuses it/,
    ),
    file(
      "that says too much",
      () => zip(read("full.raw"), { says: 3 * MIB }),
      /unpacks to \d+ of the 3145728 bytes|gzip refuses it/,
    ),
    file(
      "with a wrong sum",
      () => zip(read("full.raw"), { method: 0, crc: 1 }),
      /other bytes than its checksum/,
    ),
    file(
      "of absurd size",
      () => zip(read("full.raw"), { says: 2 ** 50, is64: true }),
      /more than the limit/,
    ),
    file("encrypted", () => zip(read("full.raw"), { flags: 1 }), /"disk" encrypted/),
    file("with a link", () => zip(Buffer.from(backingFile), { mode: 0o120777 }), /link or no file/),
    file("leading out", () => zip(read("full.raw"), { name: "../disk" }), /plain paths are wanted/),
  ];
}

function damaged(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(4096) ^ 0xff, 4096);
  return copy;
}

// Files for the tests of imports: disks in every form, and what nobody should take.
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { qcow2Bytes, rawDiskBytes } from "@trine/disk-images/testing";
import { HOSTILE_ZIPS, makeZips } from "./testing/zip-files.ts";
import type { HostileFile } from "./testing/zip-files.ts";

const MIB = 1024 * 1024;
const SECTOR = 512;
const SPARSE_MIB = 72;
const DATA_MIB = 6;
const OVF = "appliance.ovf";

/** Of the second disk of two.ova. */
export const SECOND_MIB = 24;

/** Makes the same disk in every form, in a directory; and an appliance of two. */
export async function makeFiles(dir: string): Promise<void> {
  const run = (program: string, ...args: string[]): void => {
    execFileSync(program, args, { cwd: dir, stdio: "pipe" });
  };
  const convert = (format: string, to: string, ...options: string[]): void => {
    run("qemu-img", "convert", "-O", format, ...options, "tiny.qcow2", to);
  };
  const sparse = await open(join(dir, "sparse.raw"), "w");
  await sparse.truncate(SPARSE_MIB * MIB);
  await sparse.write(rawDiskBytes("mbr"), 0);
  await sparse.write(randomBytes(DATA_MIB * MIB), 0, DATA_MIB * MIB, 8 * MIB);
  await sparse.close();
  run("qemu-img", "convert", "-O", "qcow2", "sparse.raw", "tiny.qcow2");
  await writeFile(join(dir, "secret"), "of the host");
  convert("vmdk", "stream.vmdk", "-o", "subformat=streamOptimized");
  convert("vmdk", "sparse.vmdk");
  convert("vhdx", "disk.vhdx");
  convert("vpc", "dynamic.vhd");
  convert("vpc", "fixed.vhd", "-o", "subformat=fixed");
  const full = Buffer.concat([rawDiskBytes("gpt"), Buffer.alloc(MIB, 7)]);
  await writeFile(join(dir, "full.raw"), full);
  run("genisoimage", "-quiet", "-o", "disc.iso", "tiny.qcow2");
  const disk = readFileSync(join(dir, "stream.vmdk"));
  await writeFile(join(dir, "appliance.ova"), ova({ "disk.vmdk": disk }));
  await writeFile(join(dir, "second.raw"), rawDiskBytes("mbr"));
  run("truncate", "-s", `${SECOND_MIB}M`, "second.raw");
  const stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"];
  run("qemu-img", "convert", "-f", "raw", ...stream, "second.raw", "second.vmdk");
  const second = readFileSync(join(dir, "second.vmdk"));
  await writeFile(join(dir, "two.ova"), ova({ "a.vmdk": disk, "b.vmdk": second }));
  for (const [program, file] of [
    ["gzip", "stream.vmdk"],
    ["xz", "disk.vhdx"],
    ["bzip2", "dynamic.vhd"],
  ] as const) {
    run(program, "-k", file);
  }
  run("zstd", "-q", "-k", "sparse.raw");
  await makeZips(dir);
  for (const [program, size] of [
    ["gzip", "64M"],
    ["xz", "64M"],
    ["zstd", "2G"],
  ] as const) {
    run("truncate", "-s", size, "bomb");
    run(program, "-q", "-1", "-k", "bomb");
  }
  run("rm", "bomb");
}

/** What an import refuses, each with words of the reason; `dir` is where `makeFiles` was. */
export function HOSTILE_FILES(dir: string): readonly HostileFile[] {
  const read = (name: string): Buffer => readFileSync(join(dir, name));
  const secret = join(dir, "secret");
  const cut =
    (name: string, bytes = 4096): (() => Buffer) =>
    () =>
      read(name).subarray(0, -bytes);
  return [
    file("gzip cut off", cut("stream.vmdk.gz"), /gzip refuses it: .*unexpected end/),
    file("xz cut off", cut("disk.vhdx.xz"), /xz refuses it: .*[Uu]nexpected end/),
    file("zstd cut off", cut("sparse.raw.zst"), /zstd refuses it: .*premature end/),
    file("bzip2 cut off", cut("dynamic.vhd.bz2"), /bzip2 refuses it/),
    file(
      "gzip that lies of its length",
      () => lyingGzip(read("stream.vmdk.gz")),
      /gzip refuses it/,
    ),
    file("gzip in gzip", () => gzip(gzip(read("full.raw"))), /packed twice/),
    file("gzip of a backing file", () => gzip(qcow2Bytes({ backingFile: secret })), /backing file/),
    file("gzip of text", () => gzip(Buffer.from("404 not found\n".repeat(90))), /a text file/),
    ...HOSTILE_ZIPS(dir),
    file("VMDK cut off", cut("stream.vmdk", 100_000), /footer is missing|refuses it/),
    file("VMDK of text", () => Buffer.from(vmdkText(secret)), /data in other files \(".*secret"\)/),
    file("VMDK of flat data", () => vmdk(vmdkText(secret)), /data in other files \(".*secret"\)/),
    file(
      "VMDK with a parent",
      () =>
        vmdk(vmdkText("d", { parentCID: "12345678", parentFileNameHint: `"${secret}"` }, "SPARSE")),
      /parent disk ".*secret"/,
    ),
    file(
      "VMDK of capacity 0",
      () => vmdk(vmdkText(secret), { sectors: 0n }),
      /capacity 0: its data would lie in other files/,
    ),
    file("VMDK of absurd size", () => vmdk("", { sectors: 1n << 50n }), /VMDK capacity/),
    file("VMDK without a word", () => vmdk(""), /without a description/),
    file(
      "VMDK of giant description",
      () => vmdk("", { descriptorSectors: 1n << 40n }),
      /description of \d+ bytes/,
    ),
    file("VHD with a parent", () => changed(read("dynamic.vhd"), vhdType(4)), /parent disk/),
    file("VHD cut off", cut("dynamic.vhd", SECTOR), /VHD footer at its end is missing/),
    file("fixed VHD cut off", () => shortVhd(read("fixed.vhd")), /truncated: it holds \d+ of/),
    file(
      "VHD with a wrong sum",
      () => changed(read("dynamic.vhd"), flip(-SECTOR + 48)),
      /checksum/,
    ),
    file("VHDX cut off", () => read("disk.vhdx").subarray(0, 200_000), /VHDX region table/),
    file("VHDX without metadata", () => changed(read("disk.vhdx"), flip(192 * 1024)), /VHDX/),
    file("OVA cut off", cut("appliance.ova", 200_000), /goes on behind its end/),
    file("OVA with two disks", () => ova({ "a.vmdk": vmdk("x"), "b.vmdk": vmdk("x") }), /2 disks/),
    file("OVA without a disk", () => ova({}), /0 disks/),
    file(
      "OVA whose disk is away",
      () => ova({ "a.vmdk": vmdk("x") }, { missing: true }),
      /lacks the disk/,
    ),
    file(
      "OVA that leads out",
      () => tar([["../../etc/cron.d/x", Buffer.from("x")]]),
      /plain names/,
    ),
    file(
      "OVA with an absolute name",
      () => tar([["/etc/shadow", Buffer.from("x")]]),
      /plain names/,
    ),
    file(
      "OVA with a link",
      () => tar([["disk.vmdk", Buffer.alloc(0), "2", secret]]),
      /holds a link/,
    ),
    file("OVA with a device", () => tar([["disk.vmdk", Buffer.alloc(0), "4"]]), /which is no file/),
    file("OVA of nothing", () => tar([["readme", Buffer.from("x")]]), /without an \.ovf/),
    file(
      "OVA with an entity",
      () => ova({ "a.vmdk": vmdk("x") }, { head: "<!DOCTYPE x>" }),
      /document type/,
    ),
    file(
      "OVA whose VMDK leads out",
      () => ova({ "a.vmdk": vmdk(vmdkText(secret)) }),
      /data in other files/,
    ),
    file(
      "OVA with another sum",
      () => ova({ "disk.vmdk": read("stream.vmdk") }, { sum: "0".repeat(64) }),
      /checksum is sha256:/,
    ),
  ];
}

function file(name: string, bytes: () => Buffer, says: RegExp): HostileFile {
  return { name, bytes, says };
}

function gzip(bytes: Buffer): Buffer {
  return execFileSync("gzip", ["-c"], { input: bytes, maxBuffer: 64 * MIB });
}

/** The length in a member's last bytes is not that of its data. */
function lyingGzip(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt32LE(copy.readUInt32LE(copy.length - 4) + 1, copy.length - 4);
  return copy;
}

function changed(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  return copy;
}

function flip(at: number): (copy: Buffer) => void {
  return (copy) => {
    const place = at < 0 ? copy.length + at : at;
    copy.writeUInt8(copy.readUInt8(place) ^ 0xff, place);
  };
}

function vhdType(type: number): (copy: Buffer) => void {
  return (copy) => {
    for (const at of [0, copy.length - SECTOR]) {
      const footer = copy.subarray(at, at + SECTOR);
      footer.writeUInt32BE(type, 60);
      footer.writeUInt32BE(0, 64);
      footer.writeUInt32BE(~footer.reduce((sum, byte) => sum + byte, 0) >>> 0, 64);
    }
  };
}

/** The footer right, half of the data gone. */
function shortVhd(bytes: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, MIB), bytes.subarray(-SECTOR)]);
}

function vmdkText(
  extent: string,
  more: Readonly<Record<string, string>> = {},
  type = "FLAT",
): string {
  const fields = {
    version: "1",
    CID: "fffffffe",
    parentCID: "ffffffff",
    createType: '"monolithicSparse"',
    ...more,
  };
  const lines = Object.entries(fields).map(([key, value]) => `${key}=${value}`);
  return ["# Disk DescriptorFile", ...lines, `RW 2048 ${type} "${extent}" 0`, ""].join("\n");
}

/** A sparse extent of 1 MiB with this description. */
function vmdk(text: string, fields: { sectors?: bigint; descriptorSectors?: bigint } = {}): Buffer {
  const bytes = Buffer.alloc(64 * 1024);
  bytes.write("KDMV", 0, "latin1");
  bytes.writeUInt32LE(1, 4);
  bytes.writeUInt32LE(3, 8);
  bytes.writeBigUInt64LE(fields.sectors ?? 2048n, 12);
  bytes.writeBigUInt64LE(128n, 20);
  bytes.writeBigUInt64LE(1n, 28);
  bytes.writeBigUInt64LE(fields.descriptorSectors ?? 20n, 36);
  bytes.writeUInt32LE(512, 44);
  bytes.writeBigUInt64LE(26n, 56);
  bytes.write("\n \r\n", 73, "latin1");
  bytes.write(text, SECTOR, "latin1");
  return bytes;
}

type Member = readonly [name: string, bytes: Buffer, type?: string, link?: string];

function ova(
  disks: Readonly<Record<string, Buffer>>,
  options: { missing?: boolean; head?: string; sum?: string } = {},
): Buffer {
  const names = Object.keys(disks);
  const files = names.map((name, i) => `<File ovf:href="${name}" ovf:id="file${i}"/>`);
  const list = names.map(
    (_, i) => `<Disk ovf:diskId="d${i}" ovf:fileRef="file${i}" ovf:capacity="1"/>`,
  );
  const parts = ["<References>", ...files, "</References><DiskSection>", ...list, "</DiskSection>"];
  const xml = `<?xml version="1.0"?>${options.head ?? ""}<Envelope>${parts.join("")}</Envelope>`;
  const members = Object.entries(disks).map(([name, bytes]): Member => [name, bytes]);
  const sums = members.map(([name, bytes]) => {
    const sum = options.sum ?? createHash("sha256").update(bytes).digest("hex");
    return `SHA256(${name})= ${sum}\n`;
  });
  return tar([
    [OVF, Buffer.from(xml)],
    ["appliance.mf", Buffer.from(sums.join(""))],
    ...(options.missing === true ? [] : members),
  ]);
}

function tar(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(([name, bytes, type = "0", link = ""]) => {
    const header = Buffer.alloc(SECTOR);
    header.write(name, 0, 100, "utf8");
    header.write("0000644\0" + "0000000\0".repeat(2), 100, "latin1");
    header.write(
      `${bytes.length.toString(8).padStart(11, "0")}\0${"0".repeat(11)}\0`,
      124,
      "latin1",
    );
    header.fill(0x20, 148, 156);
    header.write(type, 156, "latin1");
    header.write(link, 157, 100, "utf8");
    header.write("ustar\x0000", 257, "latin1");
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return [header, bytes, Buffer.alloc((SECTOR - (bytes.length % SECTOR)) % SECTOR)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * SECTOR)]);
}

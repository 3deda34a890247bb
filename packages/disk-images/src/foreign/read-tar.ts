import { quote } from "@trine/base";
import { refuse } from "../qcow2-header.ts";
import { readWithin } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";

// POSIX.1-2017 pax, ustar part; large sizes as GNU tar writes them.
const BLOCK = 512;
const MAX_HEADERS = 64;
const MAX_PAX_BYTES = 64 * 1024;
const PLAIN_NAME = /^(?:\.\/)?([^/\\\p{Cc}]{1,255})$/u;

export interface TarMember {
  readonly name: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

/**
 * The files of a tar archive that has nothing but files with plain names. Kind `invalid` for links, devices,
 * directories, names that lead anywhere, and archives that end early.
 */
export async function readTar(archive: ByteRange, signal?: AbortSignal): Promise<TarMember[]> {
  const members: TarMember[] = [];
  let at = 0;
  // Extended headers count too: each is a read.
  for (let headers = 0; at + BLOCK <= archive.sizeBytes; headers++) {
    signal?.throwIfAborted();
    const header = await readWithin(archive, at, BLOCK, "an archive's header");
    if (header.every((byte) => byte === 0)) return members;
    if (headers === MAX_HEADERS) refuse(`holds more than ${MAX_HEADERS} files and headers`);
    checkSum(header);
    const sizeBytes = sizeOf(header);
    const data = at + BLOCK;
    if (data + sizeBytes > archive.sizeBytes) {
      refuse(`is truncated: ${quote(nameOf(header))} goes on behind its end`);
    }
    const type = header.toString("latin1", 156, 157);
    if (type === "x" || type === "g") await checkPax(archive, data, sizeBytes);
    else members.push({ name: plainName(header, type), offset: data, sizeBytes });
    at = data + Math.ceil(sizeBytes / BLOCK) * BLOCK;
  }
  return refuse("is truncated: the archive has no end");
}

function plainName(header: Buffer, type: string): string {
  const name = nameOf(header);
  if (type === "1" || type === "2") refuse(`holds a link, ${quote(name)}: nobody follows it`);
  if (type !== "0" && type !== "\0") {
    refuse(`holds ${quote(name)}, which is no file (tar type ${quote(type)})`);
  }
  const plain = PLAIN_NAME.exec(name)?.[1];
  if (plain === undefined || plain === "." || plain === "..") {
    refuse(`holds a file with the name ${quote(name)}: plain names are wanted`);
  }
  return plain;
}

function nameOf(header: Buffer): string {
  const text = (start: number, length: number): string =>
    header.toString("utf8", start, start + length).replace(/\0.*$/s, "");
  const isUstar = header.toString("latin1", 257, 262) === "ustar";
  const prefix = isUstar && header[262] === 0 ? text(345, 155) : "";
  return prefix === "" ? text(0, 100) : `${prefix}/${text(0, 100)}`;
}

function sizeOf(header: Buffer): number {
  const field = header.subarray(124, 136);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    // GNU: the rest is the number itself.
    const size = field.readUIntBE(6, 6);
    if (field[0] !== 0x80 || field.subarray(1, 6).some((byte) => byte !== 0)) {
      refuse("is corrupt: a size in the archive");
    }
    return size;
  }
  const digits = field.toString("latin1").replaceAll(/^[ \0]+|[ \0]+$/g, "");
  if (!/^[0-7]{1,12}$/.test(digits)) refuse("is corrupt: a size in the archive");
  return Number.parseInt(digits, 8);
}

function checkSum(header: Buffer): void {
  const said = Number.parseInt(header.toString("latin1", 148, 156).trim(), 8);
  const sum = header.reduce((all, byte, i) => all + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  if (said !== sum) refuse("is corrupt: a checksum in the archive");
}

/** Extended headers may say when and who; not another name, size or link. */
async function checkPax(archive: ByteRange, at: number, sizeBytes: number): Promise<void> {
  if (sizeBytes > MAX_PAX_BYTES) refuse("is corrupt: a header of the archive is too long");
  const text = (await readWithin(archive, at, sizeBytes, "an archive's header")).toString("utf8");
  const key = /(?:^|\n)\d+ (path|size|linkpath|GNU\.sparse[^=]*)=/.exec(text)?.[1];
  if (key !== undefined) refuse(`is an archive with extended headers (${key}): repack it as ustar`);
}

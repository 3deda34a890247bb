import { TrineError, quote } from "@trine/base";
import { SECTOR_BYTES } from "./image-info.ts";

// Facts from QEMU's docs/interop/qcow2.txt; limits without a note there are QEMU's own.
export const QCOW2_MAGIC = 0x514649fb;
/** Header extensions and the backing file's name lie within the first cluster (2 MiB at most). */
export const MAX_CLUSTER_BITS = 21;
export const MIN_CLUSTER_BITS = 9;
const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 104;
const MAX_BACKING_NAME = 1023;
const MAX_L1_BYTES = 32 * 1024 * 1024;
const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024;
const MAX_SNAPSHOTS = 65_536;

const INCOMPATIBLE = { dirty: 1n, corrupt: 2n, dataFile: 4n, compression: 8n, extendedL2: 16n };
const KNOWN_INCOMPATIBLE = 31n;
const EXTENSION = { end: 0, dataFile: 0x44415441, crypto: 0x0537be77 };

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBytes: number;
  readonly virtualSizeBytes: number;
  readonly l1: { readonly offset: number; readonly entries: number };
  readonly extendedL2: boolean;
}

/**
 * Reads a QCOW2 header from the first bytes of a file (its whole first cluster if the file has it).
 * Kind `invalid` for whatever QEMU would refuse, follow to another file, or ask a password for.
 */
export function parseQcow2Header(head: Buffer, fileSizeBytes: number): Qcow2Header {
  const version = readVersion(head);
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    refuse(
      `is corrupt: cluster bits ${clusterBits} are not between ${MIN_CLUSTER_BITS} and ${MAX_CLUSTER_BITS}`,
    );
  }
  const clusterBytes = 2 ** clusterBits;
  refuseOtherFiles(head);
  refuseEncryption(head);
  const features = version === 3 ? head.readBigUInt64BE(72) : 0n;
  refuseFeatures(features);
  if (version === 3) checkV3Fields(head, features, clusterBytes);
  checkExtensions(head, version === 3 ? head.readUInt32BE(100) : V2_HEADER_BYTES);

  const virtualSizeBytes = offsetAt(head, 24, "virtual size");
  if (virtualSizeBytes === 0) refuse("has a virtual size of 0");
  if (virtualSizeBytes % SECTOR_BYTES !== 0) {
    refuse(`is corrupt: virtual size ${virtualSizeBytes} is not a whole number of sectors`);
  }
  checkRefcounts(head, clusterBytes, fileSizeBytes);
  checkSnapshots(head, clusterBytes, fileSizeBytes);
  const extendedL2 = (features & INCOMPATIBLE.extendedL2) !== 0n;
  const l1 = readL1Bounds(head, { clusterBytes, virtualSizeBytes, fileSizeBytes, extendedL2 });
  return { version, clusterBytes, virtualSizeBytes, l1, extendedL2 };
}

export function refuse(why: string): never {
  throw new TrineError("invalid", why);
}

function readVersion(head: Buffer): 2 | 3 {
  if (head.length < 8) refuse("is truncated: it ends within the QCOW2 header");
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) {
    refuse(`is QCOW version ${version}; versions 2 and 3 are supported: convert it with qemu-img`);
  }
  if (head.length < (version === 2 ? V2_HEADER_BYTES : V3_HEADER_BYTES)) {
    refuse("is truncated: it ends within the QCOW2 header");
  }
  return version;
}

function refuseOtherFiles(head: Buffer): void {
  const offset = head.readBigUInt64BE(8);
  const length = head.readUInt32BE(16);
  if (offset === 0n && length === 0) return;
  const at = Number(offset);
  const name = head.toString("latin1", at, at + Math.min(length, MAX_BACKING_NAME));
  refuse(
    `needs a backing file ${quote(name)}: only images that are whole in themselves run; flatten it with qemu-img convert`,
  );
}

function refuseEncryption(head: Buffer): void {
  const method = head.readUInt32BE(32);
  if (method === 0) return;
  const name = method === 1 ? "AES" : method === 2 ? "LUKS" : `method ${method}`;
  refuse(`is encrypted (${name}): decrypt it with qemu-img convert`);
}

function refuseFeatures(features: bigint): void {
  if ((features & INCOMPATIBLE.dataFile) !== 0n) refuseDataFile();
  const unknown = features & ~KNOWN_INCOMPATIBLE;
  if (unknown !== 0n) {
    refuse(`needs features unknown here (incompatible bits 0x${unknown.toString(16)})`);
  }
  if ((features & INCOMPATIBLE.corrupt) !== 0n) {
    refuse("is marked corrupt: repair it with qemu-img check -r all");
  }
}

function refuseDataFile(): never {
  return refuse(
    "keeps its data in an external data file: only images that are whole in themselves run",
  );
}

function checkV3Fields(head: Buffer, features: bigint, clusterBytes: number): void {
  const order = head.readUInt32BE(96);
  if (order > 6) refuse(`is corrupt: refcount order ${order} is more than 6`);
  const headerBytes = head.readUInt32BE(100);
  if (headerBytes < V3_HEADER_BYTES || headerBytes % 8 !== 0 || headerBytes > clusterBytes) {
    refuse(`is corrupt: header length ${headerBytes}`);
  }
  const compression = headerBytes > V3_HEADER_BYTES && head.length > 104 ? head.readUInt8(104) : 0;
  const isDeclared = (features & INCOMPATIBLE.compression) !== 0n;
  if (isDeclared !== (compression !== 0)) refuse("is corrupt: compression type and feature differ");
  if (compression > 1) refuse(`is compressed with method ${compression}, unknown here`);
}

/** Walks the header extensions: some lead to other files or to keys. */
function checkExtensions(head: Buffer, start: number): void {
  let at = start;
  while (at + 8 <= head.length) {
    const type = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (type === EXTENSION.end) return;
    if (type === EXTENSION.dataFile) refuseDataFile();
    if (type === EXTENSION.crypto) refuse("is encrypted: decrypt it with qemu-img convert");
    at += 8 + Math.ceil(length / 8) * 8;
    if (at > head.length) refuse("is corrupt: a header extension leads out of the header");
  }
}

function checkRefcounts(head: Buffer, clusterBytes: number, fileSizeBytes: number): void {
  const offset = offsetAt(head, 48, "refcount table offset");
  const bytes = head.readUInt32BE(56) * clusterBytes;
  if (offset === 0 || bytes === 0 || offset % clusterBytes !== 0) {
    refuse("is corrupt: refcount table offset or size is wrong");
  }
  if (bytes > MAX_REFCOUNT_TABLE_BYTES) refuse("is corrupt: refcount table is too large");
  if (offset + 8 > fileSizeBytes) refuse("is truncated: refcount table lies behind its end");
}

function checkSnapshots(head: Buffer, clusterBytes: number, fileSizeBytes: number): void {
  const count = head.readUInt32BE(60);
  if (count === 0) return;
  if (count > MAX_SNAPSHOTS) refuse(`is corrupt: ${count} internal snapshots`);
  const offset = offsetAt(head, 64, "snapshot table offset");
  if (offset % clusterBytes !== 0) refuse("is corrupt: snapshot table offset is not aligned");
  if (offset >= fileSizeBytes) refuse("is truncated: snapshot table lies behind its end");
}

function readL1Bounds(
  head: Buffer,
  disk: {
    clusterBytes: number;
    virtualSizeBytes: number;
    fileSizeBytes: number;
    extendedL2: boolean;
  },
): Qcow2Header["l1"] {
  const entries = head.readUInt32BE(36);
  const offset = offsetAt(head, 40, "L1 table offset");
  const perTable = disk.clusterBytes / (disk.extendedL2 ? 16 : 8);
  const needed = Math.ceil(disk.virtualSizeBytes / (disk.clusterBytes * perTable));
  if (entries < needed) {
    refuse(`is corrupt: L1 table has ${entries} entries, its virtual size needs ${needed}`);
  }
  if (entries * 8 > MAX_L1_BYTES) refuse(`is corrupt: L1 table of ${entries} entries is too large`);
  if (offset === 0 || offset % disk.clusterBytes !== 0) {
    refuse(`is corrupt: L1 table offset ${offset} is not at a cluster`);
  }
  if (offset + entries * 8 > disk.fileSizeBytes) {
    refuse("is truncated: L1 table lies behind its end");
  }
  return { offset, entries };
}

/** A 64-bit field as a number; QEMU takes offsets and sizes as signed, so the top bit is an error. */
function offsetAt(head: Buffer, at: number, what: string): number {
  const value = head.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    refuse(`is corrupt: ${what} 0x${value.toString(16)}`);
  return Number(value);
}

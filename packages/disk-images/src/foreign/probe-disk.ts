import type { FileHandle } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { HEAD_BYTES, TAIL_BYTES } from "../foreign-format.ts";
import type { ImageInfo, ImageLimits } from "../image-info.ts";
import { checkVirtualSize, inspectImage, isQcow2 } from "../inspect-image.ts";
import { readAt, requireRegular } from "../open-image.ts";
import { refuse } from "../qcow2-header.ts";
import type { ByteRange } from "./byte-range.ts";
import { inspectVhd } from "./inspect-vhd.ts";
import { inspectVhdx } from "./inspect-vhdx.ts";
import { inspectVmdk, refuseVmdkText } from "./inspect-vmdk.ts";
import { listOvaDisks, readOva } from "./read-ova.ts";
import type { OvaDisk } from "./read-ova.ts";
import { readZip } from "./read-zip.ts";
import type { ZipMember } from "./read-zip.ts";

export type Compression = "gzip" | "xz" | "zstd" | "bzip2";

/** A disk that has to be converted: its format in QEMU's words, and where in the file it lies. */
export interface ForeignDisk {
  readonly kind: "foreign";
  readonly format: "vmdk" | "vpc" | "vhdx";
  readonly virtualSizeBytes: number;
  readonly offset: number;
  readonly sizeBytes: number;
  /** The archive's manifest on it. */
  readonly digest?: OvaDisk["digest"];
}

export type DiskProbe =
  | { readonly kind: "native"; readonly info: ImageInfo }
  | { readonly kind: "packed"; readonly by: Compression }
  | { readonly kind: "zipped"; readonly member: ZipMember }
  | ForeignDisk;

const PACKED: readonly (readonly [Compression, Buffer])[] = [
  ["gzip", Buffer.from("1f8b", "hex")],
  ["xz", Buffer.from("fd377a585a00", "hex")],
  ["zstd", Buffer.from("28b52ffd", "hex")],
  ["bzip2", Buffer.from("BZh")],
];

export interface ProbeOptions extends ImageLimits {
  /** Name of the disk that is meant, of an archive that may hold several; of other files kind `invalid`. */
  readonly disk?: string;
}

/**
 * Says what a file is by its own bytes, never by its name, and checks it as far as it is read here. Kind
 * `invalid` in one sentence, beginning with `what`, for what no machine is made of.
 */
export async function probeDisk(
  handle: FileHandle,
  what: string,
  { disk, ...limits }: ProbeOptions = {},
  signal?: AbortSignal,
): Promise<DiskProbe> {
  signal?.throwIfAborted();
  const sizeBytes = await requireRegular(handle, what);
  try {
    const range = { handle, offset: 0, sizeBytes };
    const head = await readAt(handle, 0, Math.min(HEAD_BYTES, sizeBytes));
    const packed = PACKED.find(([, magic]) => head.subarray(0, magic.length).equals(magic));
    if (packed !== undefined) return { kind: "packed", by: packed[0] };
    if (isZip(head)) return { kind: "zipped", member: await readZip(range, disk) };
    if (isOva(head)) return await probeOva(range, { disk, ...limits }, signal);
    if (disk !== undefined) refuse("is no OVA and no zip archive: --disk is for those");
    const foreign = await probeForeign(range, head, limits);
    if (foreign !== undefined) return foreign;
  } catch (cause) {
    if (!(cause instanceof TrineError)) throw cause;
    throw new TrineError(cause.kind, `${what} ${cause.message}`, { cause });
  }
  return { kind: "native", info: await inspectImage(handle, limits, signal, what) };
}

/** Names of all disks of an OVA, one or more; of other files kind `invalid`, in one sentence that begins with `what`. */
export async function listDisks(
  handle: FileHandle,
  what: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const sizeBytes = await requireRegular(handle, what);
  try {
    const head = await readAt(handle, 0, Math.min(HEAD_BYTES, sizeBytes));
    if (!isOva(head)) refuse("is no OVA: --all-disks is for those, unpacked");
    const names = await listOvaDisks({ handle, offset: 0, sizeBytes }, signal);
    return names.length > 0 ? names : refuse("is an appliance of 0 disks");
  } catch (cause) {
    if (!(cause instanceof TrineError)) throw cause;
    throw new TrineError(cause.kind, `${what} ${cause.message}`, { cause });
  }
}

/** An archive of no file begins with its end. */
function isZip(head: Buffer): boolean {
  return ["PK\x03\x04", "PK\x05\x06"].includes(head.toString("latin1", 0, 4));
}

function isOva(head: Buffer): boolean {
  return head.toString("latin1", 257, 262) === "ustar";
}

async function probeOva(
  archive: ByteRange,
  { disk: wanted, ...limits }: ImageLimits & { readonly disk: string | undefined },
  signal?: AbortSignal,
): Promise<ForeignDisk> {
  const disk = await readOva(archive, wanted, signal);
  const range = { handle: archive.handle, offset: disk.offset, sizeBytes: disk.sizeBytes };
  const head = await readAt(range.handle, range.offset, Math.min(HEAD_BYTES, range.sizeBytes));
  if (isQcow2(head)) refuse("is an OVA with a QCOW2 in it: unpack it, and import that");
  const found = await probeForeign(range, head, limits);
  if (found === undefined) return refuse("is an OVA whose disk is no VMDK, VHD or VHDX");
  return { ...found, ...(disk.digest && { digest: disk.digest }) };
}

async function probeForeign(
  range: ByteRange,
  head: Buffer,
  limits: ImageLimits,
): Promise<ForeignDisk | undefined> {
  const tail = await readAt(
    range.handle,
    range.offset + Math.max(0, range.sizeBytes - TAIL_BYTES),
    Math.min(TAIL_BYTES, range.sizeBytes),
  );
  const starts = (text: string): boolean => head.toString("latin1", 0, text.length) === text;
  const size = async (): Promise<[ForeignDisk["format"], number] | undefined> => {
    if (starts("# Disk DescriptorFile")) return refuseVmdkText(head);
    if (starts("COWD")) return refuse("is a VMDK of a host's own kind (COWD): export it instead");
    if (starts("KDMV")) return ["vmdk", await inspectVmdk(range)];
    if (starts("vhdxfile")) return ["vhdx", await inspectVhdx(range)];
    const isVhd = starts("conectix") || tail.toString("latin1", 0, 8) === "conectix";
    return isVhd ? ["vpc", await inspectVhd(range)] : undefined;
  };
  const found = await size();
  if (found === undefined) return undefined;
  const [format, virtualSizeBytes] = found;
  checkVirtualSize({ virtualSizeBytes, fileSizeBytes: range.sizeBytes }, limits);
  return {
    kind: "foreign",
    format,
    virtualSizeBytes,
    offset: range.offset,
    sizeBytes: range.sizeBytes,
  };
}

import { TrineError } from "@trine/base";
import { compressionOf, decompress } from "./decompress.ts";
import { hasPvhEntry } from "./elf.ts";

/** A kernel with its debug information may be larger, and needs to be stripped. */
const MAX_VMLINUX = 512 << 20;
const ELF_MAGIC = 0x7f454c46;

/**
 * The uncompressed kernel in `file`, which is a bzImage (vmlinuz) or such a kernel itself: an ELF file that a
 * VMM enters by its PVH note. Kind `invalid`, naming `what`, when it is neither, damaged, or has no PVH entry.
 * Layout: the kernel's Documentation/x86/boot.rst.
 */
export async function extractVmlinux(
  what: string,
  file: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const isElf = file.length >= 4 && file.readUInt32BE(0) === ELF_MAGIC;
  const vmlinux = isElf ? file : await unpackPayload(what, payloadOf(what, file), signal);
  if (!hasPvhEntry(what, vmlinux)) {
    throw new TrineError("invalid", `${what}: a kernel without PVH entry (CONFIG_PVH)`);
  }
  return vmlinux;
}

/** The compressed kernel within a bzImage. */
function payloadOf(what: string, file: Buffer): Buffer {
  if (file.length < 0x260 || file.toString("latin1", 0x202, 0x206) !== "HdrS") {
    throw new TrineError("invalid", `${what}: neither a bzImage nor an ELF kernel`);
  }
  const protocol = file.readUInt16LE(0x206);
  if (protocol < 0x208) {
    throw new TrineError("invalid", `${what}: boot protocol ${protocol.toString(16)} is too old`);
  }
  // 0 means 4 sectors.
  const setupSectors = file[0x1f1] === 0 ? 4 : (file[0x1f1] ?? 4);
  const start = (setupSectors + 1) * 512 + file.readUInt32LE(0x248);
  const end = start + file.readUInt32LE(0x24c);
  if (end > file.length) {
    throw new TrineError("invalid", `${what}: cut off, ${end} bytes are wanted of ${file.length}`);
  }
  return file.subarray(start, end);
}

async function unpackPayload(what: string, payload: Buffer, signal: AbortSignal): Promise<Buffer> {
  if (payload.length < 16) throw new TrineError("invalid", `${what}: holds no kernel`);
  // The size is gzip's own last field; behind every other format the kernel's build writes it.
  const size = payload.readUInt32LE(payload.length - 4);
  if (size === 0 || size > MAX_VMLINUX) {
    throw new TrineError("invalid", `${what}: says to hold a kernel of ${size} bytes`);
  }
  const data = compressionOf(payload) === "gzip" ? payload : payload.subarray(0, -4);
  const vmlinux = await decompress(data, { what, maxBytes: size, signal });
  if (vmlinux.length < size) {
    throw new TrineError("invalid", `${what}: ${vmlinux.length} bytes came out instead of ${size}`);
  }
  return vmlinux;
}

/** "6.1.0-56-amd64" of the kernel's own banner. */
export function kernelRelease(what: string, vmlinux: Buffer): string {
  const marker = "Linux version ";
  for (let at = vmlinux.indexOf(marker); at >= 0; at = vmlinux.indexOf(marker, at + 1)) {
    const text = vmlinux.toString("latin1", at + marker.length, at + marker.length + 100);
    const release = /^([0-9][A-Za-z0-9._+~-]*) \(/.exec(text)?.[1];
    if (release !== undefined && release.length <= 64) return release;
  }
  throw new TrineError("invalid", `${what}: does not say which Linux it is`);
}

import { open } from "node:fs/promises";
import { TrineError } from "@trine/base";

// linux/fs/erofs/erofs_fs.h, struct erofs_super_block.
const SUPERBLOCK_AT = 1024;
const SUPERBLOCK_BYTES = 128;
const MAGIC = 0xe0f5e1e2;
const BLOCK_BITS = { at: 12, wanted: 12 };
const BLOCKS_AT = 36;
const UUID_AT = 48;
const UUID_BYTES = 16;

/**
 * Reads a file system's superblock. Kind `malformed` when the file is not as long as that says, or is another
 * one than `uuid`: cut short, or not of our making.
 */
export async function checkErofs(path: string, uuid: string): Promise<void> {
  await using file = await open(path, "r");
  const { size } = await file.stat();
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES);
  const { bytesRead } = await file.read(bytes, 0, SUPERBLOCK_BYTES, SUPERBLOCK_AT);
  const say = (what: string): TrineError =>
    new TrineError("malformed", `${path}: ${what}; it is made again when it is needed`);
  if (bytesRead < SUPERBLOCK_BYTES || bytes.readUInt32LE(0) !== MAGIC) throw say("no erofs");
  if (bytes[BLOCK_BITS.at] !== BLOCK_BITS.wanted) throw say("blocks of another size");
  const wanted = bytes.readUInt32LE(BLOCKS_AT) * 2 ** BLOCK_BITS.wanted;
  if (size !== wanted) throw say(`${size} bytes where its superblock says ${wanted}`);
  const found = bytes.toString("hex", UUID_AT, UUID_AT + UUID_BYTES);
  if (found !== uuid.replaceAll("-", "")) throw say(`another file system's: ${found}`);
}

/** A file system's UUID made of an image's chain id (64 hexadecimal digits). */
export function uuidOfChain(hex: string): string {
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...parts, hex.slice(20, 32)].join("-");
}

// Layout from POSIX.1-2017, pax: ustar headers, and an extended header where a size does not fit.
const TAR_BLOCK = 512;
/** Two blocks of zeros end an archive. */
export const TAR_END = Buffer.alloc(2 * TAR_BLOCK);
const MAX_USTAR_SIZE = 8 ** 11 - 1;

export interface TarEntry {
  /** At most 100 bytes; a directory's ends with a slash. */
  readonly name: string;
  readonly mode: number;
  readonly sizeBytes: number;
  readonly type: "file" | "directory";
}

/** All blocks before an entry's data. Owner root, time 0: equal entries make equal bytes. */
export function tarHeader(entry: TarEntry): Buffer {
  const plain = ustarBlock(
    entry.name,
    entry.mode,
    entry.sizeBytes,
    entry.type === "file" ? "0" : "5",
  );
  if (entry.sizeBytes <= MAX_USTAR_SIZE) return plain;
  const record = paxRecord("size", String(entry.sizeBytes));
  const head = ustarBlock("PaxHeaders/size", 0o644, record.length, "x");
  return Buffer.concat([head, record, tarPadding(record.length), plain]);
}

/** The zeros that fill an entry's last block. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((TAR_BLOCK - (sizeBytes % TAR_BLOCK)) % TAR_BLOCK);
}

function ustarBlock(name: string, mode: number, sizeBytes: number, type: string): Buffer {
  const block = Buffer.alloc(TAR_BLOCK);
  block.write(name, 0, 100, "utf8");
  octal(block, mode, 100, 8);
  octal(block, 0, 108, 8);
  octal(block, 0, 116, 8);
  octal(block, Math.min(sizeBytes, MAX_USTAR_SIZE), 124, 12);
  octal(block, 0, 136, 12);
  block.fill(0x20, 148, 156);
  block.write(type, 156, "latin1");
  block.write("ustar\x0000root", 257, "latin1");
  block.write("root", 297, "latin1");
  octal(block, 0, 329, 8);
  octal(block, 0, 337, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function octal(block: Buffer, value: number, at: number, width: number): void {
  block.write(value.toString(8).padStart(width - 1, "0"), at, "latin1");
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself too. */
function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (String(length).length + rest.length !== length) {
    length = String(length).length + rest.length;
  }
  return Buffer.from(`${length}${rest}`, "utf8");
}

const BLOCK = 512;

export interface Entry {
  /** Of letters, digits, `-`, `.`, `_` and `/`, at most 100. */
  readonly name: string;
  readonly text: string;
}

/** A tar archive (POSIX ustar) of plain files, readable by their owner. */
export function toTar(entries: readonly Entry[], mtimeS: number): Buffer {
  const parts = entries.flatMap(({ name, text }) => {
    const data = Buffer.from(text);
    const rest = (BLOCK - (data.length % BLOCK)) % BLOCK;
    return [header(name, data.length, mtimeS), data, Buffer.alloc(rest)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header(name: string, size: number, mtimeS: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number, at: number): void => {
    block.write(`${value.toString(8).padStart(digits, "0")}\0`, at, "latin1");
  };
  block.write(name.slice(0, 100), 0, "latin1");
  octal(0o600, 7, 100);
  octal(0, 7, 108);
  octal(0, 7, 116);
  octal(size, 11, 124);
  octal(mtimeS, 11, 136);
  block.write("        0", 148, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

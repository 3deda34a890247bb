/** Where a small static program is loaded, as linkers have it. */
const BASE = 0x0804_8000;
const ELF_HEADER = 52;
const PROGRAM_HEADER = 32;
const MKDIR = 39;
const EXIT = 1;

/** A 32-bit program that makes the directory and ends with the error of that call, 0 for none. */
export function mkdirProgram32(path: string): Buffer {
  const name = Buffer.from(`${path}\0`);
  const code = (address: number): Buffer =>
    Buffer.concat([
      move(0xb8, MKDIR), // eax
      move(0xbb, address), // ebx
      move(0xb9, 0o755), // ecx
      Buffer.from([0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3]), // int 0x80; neg eax; mov ebx, eax
      move(0xb8, EXIT),
      Buffer.from([0xcd, 0x80]),
    ]);
  const start = BASE + ELF_HEADER + PROGRAM_HEADER;
  const body = Buffer.concat([code(start + code(0).length), name]);
  return Buffer.concat([elfHeader(start), programHeader(start - BASE + body.length), body]);
}

/** `printf` of a shell makes the same bytes of it. */
export function asOctal(bytes: Buffer): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
}

function move(register: number, value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = register;
  bytes.writeUInt32LE(value, 1);
  return bytes;
}

/** ELFCLASS32, little-endian, ET_EXEC for EM_386, one program header. */
function elfHeader(entry: number): Buffer {
  const header = Buffer.alloc(ELF_HEADER);
  header.write("\x7fELF\x01\x01\x01", "latin1");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(3, 18);
  header.writeUInt32LE(1, 20);
  header.writeUInt32LE(entry, 24);
  header.writeUInt32LE(ELF_HEADER, 28);
  header.writeUInt16LE(ELF_HEADER, 40);
  header.writeUInt16LE(PROGRAM_HEADER, 42);
  header.writeUInt16LE(1, 44);
  return header;
}

/** PT_LOAD of the whole file, readable and executable. */
function programHeader(size: number): Buffer {
  const header = Buffer.alloc(PROGRAM_HEADER);
  for (const [index, value] of [1, 0, BASE, BASE, size, size, 5, 0x1000].entries()) {
    header.writeUInt32LE(value, index * 4);
  }
  return header;
}

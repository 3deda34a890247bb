// ELF files for tests: as small as the readers need them.

/** A program or kernel with one segment of each type given. */
export function elfWithSegments(
  segments: readonly { readonly type: number; readonly data: Buffer }[],
): Buffer {
  const head = elfHeader();
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(segments.length, 56);
  let offset = 64 + 56 * segments.length;
  const table = segments.map(({ type, data }) => {
    const entry = Buffer.alloc(56);
    entry.writeUInt32LE(type, 0);
    entry.writeBigUInt64LE(BigInt(offset), 8);
    entry.writeBigUInt64LE(BigInt(data.length), 32);
    offset += data.length;
    return entry;
  });
  return Buffer.concat([head, ...table, ...segments.map(({ data }) => data)]);
}

/** What a kernel with a PVH entry and a release of its own looks like. */
export function sampleKernel(release: string): Buffer {
  const note = Buffer.alloc(20);
  note.writeUInt32LE(4, 0);
  note.writeUInt32LE(4, 4);
  note.writeUInt32LE(18, 8);
  note.write("Xen\0", 12, "latin1");
  const banner = Buffer.from(`\0Linux version %s\0Linux version ${release} (builder@host) (gcc)\0`);
  return elfWithSegments([
    { type: 4, data: note },
    { type: 1, data: banner },
  ]);
}

/** A kernel module that needs others, with other names of its own. */
export function sampleModule(depends: readonly string[], aliases: readonly string[] = []): Buffer {
  const names = aliases.map((alias) => `alias=${alias}\0`).join("");
  const info = Buffer.from(`license=GPL\0${names}depends=${depends.join(",")}\0`);
  const sections = Buffer.from("\0.modinfo\0.shstrtab\0");
  const head = elfHeader();
  head.writeBigUInt64LE(BigInt(64 + info.length + sections.length), 40);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(3, 60);
  head.writeUInt16LE(2, 62);
  const entry = (name: number, type: number, offset: number, size: number): Buffer => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(name, 0);
    bytes.writeUInt32LE(type, 4);
    bytes.writeBigUInt64LE(BigInt(offset), 24);
    bytes.writeBigUInt64LE(BigInt(size), 32);
    return bytes;
  };
  return Buffer.concat([
    ...[head, info, sections, entry(0, 0, 0, 0), entry(1, 1, 64, info.length)],
    entry(10, 3, 64 + info.length, sections.length),
  ]);
}

/** A bzImage around an already compressed kernel. */
export function bzImage(payload: Buffer): Buffer {
  const setup = Buffer.alloc(2 * 512);
  setup[0x1f1] = 1;
  setup.write("HdrS", 0x202, "latin1");
  setup.writeUInt16LE(0x20f, 0x206);
  setup.writeUInt32LE(0, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, payload]);
}

function elfHeader(): Buffer {
  const head = Buffer.alloc(64);
  head.writeUInt32BE(0x7f454c46, 0);
  head[4] = 2;
  head[5] = 1;
  head.writeUInt16LE(62, 18);
  return head;
}

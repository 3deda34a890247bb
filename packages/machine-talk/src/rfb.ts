import type { Socket } from "node:net";
import { TrineError } from "@trine/base";

/** Larger ones are no machine's of ours: QEMU's adapter has memory for 4 million pixels. */
const MAX_PIXELS = 16 * 1024 * 1024;
const MAX_NAME = 64 * 1024;
const MAX_MESSAGES = 64;
const NO_SECURITY = 1;
/** 32 bits a pixel, little endian, blue in the lowest byte. */
const PIXEL_FORMAT = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
const [UPDATE, COLOURS, BELL, CUT_TEXT] = [0, 1, 2, 3];

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green, blue: three bytes a pixel, row by row. */
  readonly rgb: Buffer;
}

/** One whole picture of a VNC display (RFC 6143, RFB 3.8 without security). Kind `malformed` for other servers. */
export async function takePicture(socket: Socket): Promise<Picture> {
  const bytes = new Bytes(socket);
  const { width, height } = await greet(socket, bytes);
  socket.write(Buffer.from([0, 0, 0, 0, ...PIXEL_FORMAT]));
  socket.write(Buffer.from([2, 0, 0, 1, 0, 0, 0, 0])); // one encoding: raw
  const ask = Buffer.alloc(10);
  ask.writeUInt8(3);
  ask.writeUInt16BE(width, 6);
  ask.writeUInt16BE(height, 8);
  socket.write(ask);
  const rgb = Buffer.alloc(width * height * 3);
  for (let missing = width * height, count = 0; missing > 0; count += 1) {
    if (count > MAX_MESSAGES) throw broken("no whole picture");
    missing -= await readMessage(bytes, { width, height, rgb });
  }
  return { width, height, rgb };
}

async function greet(socket: Socket, bytes: Bytes): Promise<{ width: number; height: number }> {
  const version = (await bytes.read(12)).toString("latin1");
  if (!/^RFB 003\.00[78]\n$/.test(version)) throw broken(`version ${JSON.stringify(version)}`);
  socket.write(version);
  const [count = 0] = await bytes.read(1);
  if (!(await bytes.read(count)).includes(NO_SECURITY)) throw broken("it wants a password");
  socket.write(Buffer.from([NO_SECURITY]));
  if (version.endsWith("8\n") && (await bytes.read(4)).readUInt32BE() !== 0)
    throw broken("refused");
  socket.write(Buffer.from([1])); // others may stay
  const init = await bytes.read(24);
  const [width, height, name] = [init.readUInt16BE(0), init.readUInt16BE(2), init.readUInt32BE(20)];
  if (name > MAX_NAME) throw broken("its name is too long");
  await bytes.read(name);
  if (width === 0 || height === 0 || width * height > MAX_PIXELS) {
    throw broken(`${width} x ${height} pixels`);
  }
  return { width, height };
}

/** Answers how many pixels it brought. */
async function readMessage(bytes: Bytes, picture: Picture): Promise<number> {
  const [type] = await bytes.read(1);
  if (type === BELL) return 0;
  if (type === COLOURS) {
    const head = await bytes.read(5);
    await bytes.read(head.readUInt16BE(3) * 6);
    return 0;
  }
  if (type === CUT_TEXT) {
    const size = (await bytes.read(7)).readUInt32BE(3);
    if (size > MAX_NAME) throw broken("a text that is too long");
    await bytes.read(size);
    return 0;
  }
  if (type !== UPDATE) throw broken(`message ${type ?? ""}`);
  const count = (await bytes.read(3)).readUInt16BE(1);
  let pixels = 0;
  for (let index = 0; index < count; index += 1) pixels += await readRectangle(bytes, picture);
  return pixels;
}

async function readRectangle(bytes: Bytes, { width, height, rgb }: Picture): Promise<number> {
  const head = await bytes.read(12);
  const [x, y] = [head.readUInt16BE(0), head.readUInt16BE(2)];
  const [w, h] = [head.readUInt16BE(4), head.readUInt16BE(6)];
  if (head.readInt32BE(8) !== 0) throw broken("an encoding that was not asked for");
  if (x + w > width || y + h > height) throw broken("a rectangle outside of the picture");
  for (let row = 0; row < h; row += 1) {
    const line = await bytes.read(w * 4);
    for (let column = 0; column < w; column += 1) {
      const to = ((y + row) * width + x + column) * 3;
      for (let part = 0; part < 3; part += 1) rgb[to + part] = line[column * 4 + 2 - part] ?? 0;
    }
  }
  return w * h;
}

/** Exactly as many bytes as are asked for. */
class Bytes {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.#chunks = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  async read(count: number): Promise<Buffer> {
    const parts: Buffer[] = [this.#rest];
    let size = this.#rest.length;
    while (size < count) {
      const next = await this.#chunks.next();
      if (next.done === true) throw broken("it ended early");
      parts.push(next.value);
      size += next.value.length;
    }
    const whole = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = whole.subarray(count);
    return whole.subarray(0, count);
  }
}

function broken(what: string): TrineError {
  return new TrineError("malformed", `the display's server: ${what}`);
}

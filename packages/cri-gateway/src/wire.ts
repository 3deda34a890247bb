// Protobuf read where it lies and written by appending: what the gateway does not know goes through untouched.
// https://protobuf.dev/programming-guides/encoding
import { TrineError } from "@trine/base";

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;
/** The last field number the encoding has. */
const MAX_FIELD = 2 ** 29 - 1;
const EMPTY = Buffer.alloc(0);

/** One field as it lies in its message. */
export interface Field {
  readonly number: number;
  /** Of bytes, strings, messages and packed lists; else empty. */
  readonly bytes: Buffer;
  /** Of varints up to 2^53; else 0. */
  readonly value: number;
}

/** Every field of a message, in order. Kind `malformed` when it is none; nothing is ever read past its end. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  const reader = new Reader(message);
  while (!reader.isDone) {
    const tag = reader.varint();
    const number = Math.floor(tag / 8);
    if (number === 0 || number > MAX_FIELD) throw malformed(`field number ${number}`);
    yield reader.field(number, tag % 8);
  }
}

/** Kind `malformed` unless these bytes are a message: its own fields are looked at, not those within them. */
export function checkFields(message: Uint8Array): void {
  const fields = fieldsOf(message);
  while (fields.next().done !== true);
}

/** All occurrences of a bytes field, in order: the items of a repeated one. */
export function itemsAt(message: Uint8Array, number: number): Buffer[] {
  return [...fieldsOf(message)]
    .filter((field) => field.number === number)
    .map(({ bytes }) => bytes);
}

/** The message at a path of field numbers: occurrences merge, as every decoder does. Empty where it is absent. */
export function messageAt(message: Uint8Array, ...path: readonly number[]): Buffer {
  let at: Buffer = asBuffer(message);
  for (const number of path) {
    const items = itemsAt(at, number);
    at = items.length === 1 ? (items[0] ?? EMPTY) : Buffer.concat(items);
  }
  return at;
}

/** The string at a path; the last occurrence holds, and empty is the same as absent. */
export function stringAt(message: Uint8Array, ...path: readonly number[]): string {
  return lastAt(message, path)?.bytes.toString("utf8") ?? "";
}

/** The number (varint: integer, enumeration, truth) at a path; 0 where it is absent. */
export function numberAt(message: Uint8Array, ...path: readonly number[]): number {
  return lastAt(message, path)?.value ?? 0;
}

/** A map of strings at a path; a key said twice has its last value. */
export function mapAt(message: Uint8Array, ...path: readonly number[]): Map<string, string> {
  const map = new Map<string, string>();
  const last = path.at(-1) ?? 0;
  for (const entry of itemsAt(messageAt(message, ...path.slice(0, -1)), last)) {
    map.set(stringAt(entry, 1), stringAt(entry, 2));
  }
  return map;
}

/** A field of bytes, encoded: appended to a message it replaces a string and is merged into a message. */
export function bytesField(number: number, content: Uint8Array | string): Buffer {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return Buffer.concat([varint(number * 8 + BYTES), varint(bytes.length), bytes]);
}

/** A field of a number, encoded. */
export function numberField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8 + VARINT), varint(value)]);
}

function lastAt(message: Uint8Array, path: readonly number[]): Field | undefined {
  const last = path.at(-1);
  let found: Field | undefined;
  for (const field of fieldsOf(messageAt(message, ...path.slice(0, -1)))) {
    if (field.number === last) found = field;
  }
  return found;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(what: string): TrineError {
  return new TrineError("malformed", `the message is no protobuf: ${what}`);
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(message: Uint8Array) {
    this.#bytes = asBuffer(message);
  }

  get isDone(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Ten bytes at most. What is above 2^53 is not exact, and no length or field number. */
  varint(): number {
    let value = 0;
    for (let index = 0; index < 10; index += 1) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw malformed("it ends within a number");
      this.#at += 1;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw malformed("a number of more than ten bytes");
  }

  field(number: number, type: number): Field {
    switch (type) {
      case VARINT:
        return { number, bytes: EMPTY, value: this.varint() };
      case BYTES:
        return { number, bytes: this.#take(this.varint()), value: 0 };
      case FIXED64:
      case FIXED32:
        this.#take(type === FIXED64 ? 8 : 4);
        return { number, bytes: EMPTY, value: 0 };
      default: // groups, which CRI has none of, and two types there are not
        throw malformed(`field ${number} has type ${type}`);
    }
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed("a field is longer than its message");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

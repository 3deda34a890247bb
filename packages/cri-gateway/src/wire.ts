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

/** Kind `malformed` unless these bytes are a message: its own fields are looked at, not those within them. */
export function checkFields(message: Uint8Array): void {
  const fields = new Fields(message);
  while (fields.next());
}

/** All occurrences of a bytes field, in order: the items of a repeated one. */
export function itemsAt(message: Uint8Array, number: number): Buffer[] {
  const items: Buffer[] = [];
  const fields = new Fields(message);
  while (fields.next()) if (fields.number === number) items.push(fields.bytes());
  return items;
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
  return lastAt(message, path, (fields) => fields.text()) ?? "";
}

/** The number (varint: integer, enumeration, truth) at a path; 0 where it is absent. */
export function numberAt(message: Uint8Array, ...path: readonly number[]): number {
  return lastAt(message, path, (fields) => fields.value) ?? 0;
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

function lastAt<T>(
  message: Uint8Array,
  path: readonly number[],
  read: (fields: Fields) => T,
): T | undefined {
  const last = path.at(-1);
  let found: T | undefined;
  const fields = new Fields(path.length === 1 ? message : messageAt(message, ...path.slice(0, -1)));
  while (fields.next()) if (fields.number === last) found = read(fields);
  return found;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(what: string): TrineError {
  return new TrineError("malformed", `the message is no protobuf: ${what}`);
}

/**
 * Goes over the fields of a message, in order, without making anything of them: lists of thousands are walked. Kind `malformed`
 * when it is none; nothing is ever read past its end.
 */
export class Fields {
  /** The field's number. */
  number = 0;
  /** Of varints up to 2^53; else 0. */
  value = 0;
  readonly #bytes: Buffer;
  #start = 0;
  #end = 0;
  #at = 0;

  constructor(message: Uint8Array) {
    this.#bytes = asBuffer(message);
  }

  /** Goes to the next field; false at the end. */
  next(): boolean {
    if (this.#at >= this.#bytes.length) return false;
    const tag = this.#varint();
    this.number = Math.floor(tag / 8);
    if (this.number === 0 || this.number > MAX_FIELD) {
      throw malformed(`field number ${this.number}`);
    }
    this.#step(tag % 8);
    return true;
  }

  /** Of bytes, strings, messages and packed lists, as they lie in the message; else empty. */
  bytes(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  text(): string {
    return this.#bytes.toString("utf8", this.#start, this.#end);
  }

  #step(type: number): void {
    this.value = 0;
    switch (type) {
      case VARINT:
        this.value = this.#varint();
        this.#skip(0);
        return;
      case BYTES:
        this.#skip(this.#varint());
        return;
      case FIXED64:
      case FIXED32:
        this.#skip(type === FIXED64 ? 8 : 4);
        this.#start = this.#end;
        return;
      default: // groups, which CRI has none of, and two types there are not
        throw malformed(`field ${this.number} has type ${type}`);
    }
  }

  /** Ten bytes at most. What is above 2^53 is not exact, and no length or field number. */
  #varint(): number {
    const bytes = this.#bytes;
    let value = 0;
    let unit = 1;
    for (let index = 0; index < 10; index += 1) {
      const byte = bytes[this.#at];
      if (byte === undefined) throw malformed("it ends within a number");
      this.#at += 1;
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
      unit *= 128;
    }
    throw malformed("a number of more than ten bytes");
  }

  #skip(length: number): void {
    this.#start = this.#at;
    this.#end = this.#at + length;
    if (this.#end > this.#bytes.length) throw malformed("a field is longer than its message");
    this.#at = this.#end;
  }
}

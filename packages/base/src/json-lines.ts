import { TrineError } from "./trine-error.ts";

export interface JsonLinesLimits {
  readonly maxLineBytes: number;
  /** Objects and arrays inside each other. */
  readonly maxDepth: number;
  /** A byte that throws away what was read of the current line; qemu-guest-agent sends 0xFF before a sync. */
  readonly resetByte?: number;
}

/** A line that was read, or why one was dropped. */
export type JsonLine =
  { readonly value: unknown; readonly bytes: number } | { readonly error: TrineError };

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/**
 * Reads one JSON value a line out of bytes nobody vouches for. Each byte is looked at once, whatever the
 * cut; a line that is too long, too deep or not JSON is dropped up to its end and reported once.
 */
export class JsonLines {
  readonly #limits: JsonLinesLimits;
  #pieces: Uint8Array[] = [];
  #length = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** The rest of the current line is not wanted. */
  #skipping = false;

  constructor(limits: JsonLinesLimits) {
    this.#limits = limits;
  }

  /** Bytes held of a line that has not ended. */
  get pending(): number {
    return this.#length;
  }

  *push(bytes: Uint8Array): Generator<JsonLine> {
    const landmarks = new Landmarks(bytes, [NEWLINE, this.#limits.resetByte]);
    const inText = new Landmarks(bytes, [NEWLINE, this.#limits.resetByte, QUOTE, BACKSLASH]);
    let start = 0;
    for (let at = 0; at < bytes.length; at += 1) {
      if (this.#skipping) at = landmarks.from(at);
      else if (this.#inString && !this.#escaped) at = inText.from(at);
      const byte = bytes[at];
      if (byte === NEWLINE) {
        const line = this.#end(bytes.subarray(start, at));
        start = at + 1;
        if (line !== undefined) yield line;
      } else if (byte !== undefined && byte === this.#limits.resetByte) {
        this.#restart();
        start = at + 1;
      } else if (!this.#skipping) {
        const error = this.#refusal(byte, at - start);
        if (error !== undefined) {
          this.#restart();
          this.#skipping = true;
          yield { error };
        }
      }
    }
    this.#hold(bytes.subarray(start));
  }

  #hold(rest: Uint8Array): void {
    if (this.#skipping || rest.length === 0) return;
    this.#pieces.push(rest.slice()); // a copy: the caller's buffer may be large, or used again
    this.#length += rest.length;
  }

  /** Counts a byte of the current line, `taken` bytes of which are before it in what was pushed. */
  #refusal(byte: number | undefined, taken: number): TrineError | undefined {
    if (this.#length + taken + (byte === undefined ? 0 : 1) > this.#limits.maxLineBytes) {
      return malformed(`longer than ${this.#limits.maxLineBytes} bytes`);
    }
    if (byte !== undefined) this.#track(byte);
    if (this.#depth > this.#limits.maxDepth) {
      return malformed(`nested deeper than ${this.#limits.maxDepth}`);
    }
    return undefined;
  }

  #track(byte: number): void {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
    } else if (byte === QUOTE) this.#inString = true;
    else if (OPENING.has(byte)) this.#depth += 1;
    else if (CLOSING.has(byte)) this.#depth -= 1;
  }

  #end(last: Uint8Array): JsonLine | undefined {
    const skipped = this.#skipping;
    const text = Buffer.concat([...this.#pieces, last]);
    this.#restart();
    const blank = text.length === 0 || (text.length === 1 && text[0] === CARRIAGE_RETURN);
    return skipped || blank ? undefined : parse(text);
  }

  #restart(): void {
    this.#pieces = [];
    this.#length = 0;
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
    this.#skipping = false;
  }
}

/** Where the next of some bytes is; remembers, so that asking onwards looks at each byte once. */
class Landmarks {
  readonly #bytes: Uint8Array;
  readonly #next: { readonly byte: number; at: number }[];

  constructor(bytes: Uint8Array, of: readonly (number | undefined)[]) {
    this.#bytes = bytes;
    this.#next = of.filter((byte) => byte !== undefined).map((byte) => ({ byte, at: -1 }));
  }

  /** The first at or after `start`; the length when there is none. */
  from(start: number): number {
    let first = this.#bytes.length;
    for (const next of this.#next) {
      if (next.at < start) {
        const found = this.#bytes.indexOf(next.byte, start);
        next.at = found === -1 ? this.#bytes.length : found;
      }
      first = Math.min(first, next.at);
    }
    return first;
  }
}

function parse(text: Uint8Array): JsonLine {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
    return { value, bytes: text.length };
  } catch (cause) {
    const shown = JSON.stringify(new TextDecoder().decode(text.subarray(0, 80)));
    return { error: new TrineError("malformed", `line is not JSON: ${shown}`, { cause }) };
  }
}

function malformed(what: string): TrineError {
  return new TrineError("malformed", `line is ${what}`);
}

import { TrineError } from "@trine/base";

export interface JsonLinesLimits {
  readonly maxLineBytes: number;
  /** Objects and arrays inside each other. */
  readonly maxDepth: number;
  /** A byte that throws away what was read of the current line; qemu-guest-agent sends 0xFF before a sync. */
  readonly resetByte?: number;
}

/** A line that was read, or why one was dropped. */
export type JsonLine = { readonly value: unknown } | { readonly error: TrineError };

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
    let start = 0;
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at] ?? NEWLINE;
      if (byte === NEWLINE) {
        const line = this.#end(bytes.subarray(start, at));
        start = at + 1;
        if (line !== undefined) yield line;
      } else if (byte === this.#limits.resetByte) {
        this.#restart();
        start = at + 1;
      } else if (!this.#skipping) {
        const error = this.#refusal(byte, at - start + 1);
        if (error !== undefined) {
          this.#restart();
          this.#skipping = true;
          yield { error };
        }
      }
    }
    if (!this.#skipping && start < bytes.length) {
      // A copy: the caller's buffer may be large, or used again.
      this.#pieces.push(bytes.slice(start));
      this.#length += bytes.length - start;
    }
  }

  #refusal(byte: number, taken: number): TrineError | undefined {
    this.#track(byte);
    if (this.#depth > this.#limits.maxDepth) {
      return malformed(`nested deeper than ${this.#limits.maxDepth}`);
    }
    if (this.#length + taken > this.#limits.maxLineBytes) {
      return malformed(`longer than ${this.#limits.maxLineBytes} bytes`);
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

function parse(text: Uint8Array): JsonLine {
  try {
    return { value: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text)) as unknown };
  } catch (cause) {
    const shown = JSON.stringify(new TextDecoder().decode(text.subarray(0, 80)));
    return { error: new TrineError("malformed", `line is not JSON: ${shown}`, { cause }) };
  }
}

function malformed(what: string): TrineError {
  return new TrineError("malformed", `line is ${what}`);
}

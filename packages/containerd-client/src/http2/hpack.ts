import { TrineError } from "@trine/base";
import { decodeHuffman } from "./huffman.ts";

/** Fields by name; of a name that comes twice the last. */
export type Headers = Readonly<Record<string, string>>;

/** RFC 7541, appendix A: `name` or `name=value`. */
const STATIC: readonly Field[] = (
  ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|" +
  ":scheme=https|:status=200|:status=204|:status=206|:status=304|:status=400|:status=404|" +
  ":status=500|accept-charset|accept-encoding=gzip, deflate|accept-language|accept-ranges|" +
  "accept|access-control-allow-origin|age|allow|authorization|cache-control|" +
  "content-disposition|content-encoding|content-language|content-length|content-location|" +
  "content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|" +
  "if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|" +
  "location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|" +
  "retry-after|server|set-cookie|strict-transport-security|transfer-encoding|user-agent|" +
  "vary|via|www-authenticate"
)
  .split("|")
  .map((field) => {
    const at = field.indexOf("=");
    return at < 0 ? [field, ""] : [field.slice(0, at), field.slice(at + 1)];
  });
/** What a peer may index unless told otherwise, and we tell nobody otherwise. */
const TABLE_BYTES = 4096;
const ENTRY_OVERHEAD = 32;
const MAX_FIELDS = 256;
/** Bytes of a number beyond its prefix: 28 bits. */
const MAX_NUMBER_BYTES = 4;

type Field = readonly [name: string, value: string];

/** A header block of literals that no table has to keep; names are in lower case. */
export function encodeHeaders(fields: Headers): Buffer {
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => [
      Buffer.of(0),
      ...literal(name),
      ...literal(value),
    ]),
  );
}

function literal(text: string): Buffer[] {
  const bytes = Buffer.from(text, "latin1");
  return [encodeNumber(bytes.length, 7), bytes];
}

/** A number in a prefix of so many bits, the others zero. */
function encodeNumber(value: number, bits: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.of(value);
  const bytes = [most];
  let rest = value - most;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Reads the header blocks of one connection, in the order they come. */
export class HeaderDecoder {
  readonly #recent: Field[] = [];
  #recentBytes = 0;
  #limit = TABLE_BYTES;

  /** Kind `internal` for a block that is none; the connection is of no use then. */
  decode(block: Uint8Array): Headers {
    const from = new Reader(block);
    const fields: Record<string, string> = {};
    for (let count = 0; !from.atEnd;) {
      const first = from.peek();
      if ((first & 0xe0) === 0x20) {
        this.#resize(from.number(5));
        continue;
      }
      if (++count > MAX_FIELDS) throw broken("too many fields");
      const [name, value] = this.#field(from, first);
      fields[name] = value;
    }
    return fields;
  }

  #field(from: Reader, first: number): Field {
    if ((first & 0x80) !== 0) return this.#at(from.number(7));
    const isKept = (first & 0x40) !== 0;
    const index = from.number(isKept ? 6 : 4);
    const name = index === 0 ? from.text() : this.#at(index)[0];
    const field: Field = [name, from.text()];
    if (isKept) this.#keep(field);
    return field;
  }

  #at(index: number): Field {
    const field = STATIC[index - 1] ?? this.#recent[index - 1 - STATIC.length];
    if (field === undefined) throw broken(`no field ${index}`);
    return field;
  }

  #keep(field: Field): void {
    this.#recent.unshift(field);
    this.#recentBytes += sizeOf(field);
    this.#shrink();
  }

  #resize(limit: number): void {
    if (limit > TABLE_BYTES) throw broken(`a table of ${limit} bytes`);
    this.#limit = limit;
    this.#shrink();
  }

  #shrink(): void {
    while (this.#recentBytes > this.#limit) {
      const oldest = this.#recent.pop();
      if (oldest === undefined) return;
      this.#recentBytes -= sizeOf(oldest);
    }
  }
}

function sizeOf([name, value]: Field): number {
  return name.length + value.length + ENTRY_OVERHEAD;
}

function broken(why: string): TrineError {
  return new TrineError("internal", `the server's headers cannot be read: ${why}`);
}

/** Numbers and strings of a header block. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  peek(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw broken("they end within a field");
    return byte;
  }

  number(bits: number): number {
    const most = 2 ** bits - 1;
    let value = this.peek() & most;
    this.#at++;
    if (value < most) return value;
    for (let count = 0; count < MAX_NUMBER_BYTES; count++) {
      const byte = this.peek();
      this.#at++;
      value += (byte & 0x7f) * 128 ** count;
      if (byte < 0x80) return value;
    }
    throw broken("a number is too long");
  }

  text(): string {
    const isHuffman = (this.peek() & 0x80) !== 0;
    const length = this.number(7);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw broken("they end within a string");
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return isHuffman ? decodeHuffman(bytes) : Buffer.from(bytes).toString("latin1");
  }
}

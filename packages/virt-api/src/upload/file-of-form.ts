import { TrineError } from "@trine/base";

/** Name of the field, as CDI's clients have it. */
const FIELD = "file";
const MAX_HEAD = 8 * 1024;
/** Of all that is not the file: other fields, what stands before the first and behind the last. */
const MAX_OTHER = 64 * 1024;
const HEAD_END = "\r\n\r\n";

/**
 * The bytes of the field `file` of a form (RFC 7578), as they come. Kind `malformed` for what is no form, has no such field,
 * or ends before the field does.
 */
export async function* fileOfForm(
  body: AsyncIterable<Buffer>,
  contentType: string,
): AsyncGenerator<Buffer> {
  const form = new Form(delimiterOf(contentType));
  for await (const chunk of body) yield* form.take(chunk);
  form.end();
}

function delimiterOf(contentType: string): Buffer {
  const [, quoted, plain] =
    /^multipart\/form-data;(?:.*;)? *boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70})) *(?:;|$)/i.exec(
      contentType,
    ) ?? [];
  const boundary = quoted ?? plain;
  if (boundary !== undefined) return Buffer.from(`\r\n--${boundary}`, "latin1");
  throw new TrineError("malformed", "Content-Type: multipart/form-data with a boundary is wanted");
}

class Form {
  readonly #delimiter: Buffer;
  /** The first delimiter may be the body's first line. */
  #held = Buffer.from("\r\n");
  #at: "between" | "head" | "file" | "behind" = "between";
  #otherBytes = 0;

  constructor(delimiter: Buffer) {
    this.#delimiter = delimiter;
  }

  *take(chunk: Buffer): Generator<Buffer> {
    this.#held = Buffer.concat([this.#held, chunk]);
    for (;;) {
      if (this.#at === "head") {
        if (!this.#readHead()) return;
      } else if (this.#at === "behind") {
        this.#skip(this.#held.length);
        return;
      } else {
        const found = this.#held.indexOf(this.#delimiter);
        const isFile = this.#at === "file";
        // What may be the beginning of a delimiter waits for the rest of it.
        const bytes = found < 0 ? this.#held.length - this.#delimiter.length + 1 : found;
        if (bytes > 0) {
          if (isFile) yield this.#held.subarray(0, bytes);
          if (isFile) this.#held = this.#held.subarray(bytes);
          else this.#skip(bytes);
        }
        if (found < 0) return;
        this.#held = this.#held.subarray(this.#delimiter.length);
        this.#at = isFile ? "behind" : "head";
      }
    }
  }

  end(): void {
    if (this.#at === "behind") return;
    const why = this.#at === "file" ? "is cut off" : `has no field ${FIELD}`;
    throw new TrineError("malformed", `the form ${why}`);
  }

  /** Of a part; false where not all of it is there. */
  #readHead(): boolean {
    if (this.#held.subarray(0, 2).toString("latin1") === "--") {
      throw new TrineError("malformed", `the form has no field ${FIELD}`);
    }
    const end = this.#held.indexOf(HEAD_END);
    if (end > MAX_HEAD || (end < 0 && this.#held.length > MAX_HEAD)) {
      throw new TrineError("malformed", "the form: the headers of a field are too long");
    }
    if (end < 0) return false;
    const head = this.#held.subarray(0, end).toString("latin1");
    this.#skip(end + HEAD_END.length);
    this.#at = isFile(head) ? "file" : "between";
    return true;
  }

  #skip(bytes: number): void {
    this.#held = this.#held.subarray(bytes);
    this.#otherBytes += bytes;
    if (this.#otherBytes <= MAX_OTHER) return;
    throw new TrineError("malformed", `the form has more than ${MAX_OTHER} bytes beside its file`);
  }
}

function isFile(head: string): boolean {
  const line = head.split("\r\n").find((each) => /^content-disposition: *form-data *;/i.test(each));
  const [, quoted, plain] = /; *name=(?:"([^"]*)"|([^\s;"]+))/i.exec(line ?? "") ?? [];
  return (quoted ?? plain) === FIELD;
}

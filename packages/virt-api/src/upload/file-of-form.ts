import { TrineError } from "@trine/base";

/** Name of the field, as CDI's clients have it. */
const FIELD = "file";
const MAX_HEAD = 8 * 1024;
/** Of all that is not the file: other fields, what stands before the first and behind the last. */
const MAX_OTHER = 64 * 1024;
/** Blanks behind a boundary, of which nobody sends any. */
const MAX_PADDING = 64;
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
  #hasFile = false;
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
        const { at, end } = this.#next();
        const isFile = this.#at === "file";
        if (at > 0) {
          if (isFile) yield this.#held.subarray(0, at);
          if (isFile) this.#held = this.#held.subarray(at);
          else this.#skip(at);
        }
        if (end === undefined) return;
        this.#hasFile ||= isFile;
        this.#held = this.#held.subarray(end.bytes);
        if (end.isLast && !this.#hasFile) this.#lacksFile();
        this.#at = end.isLast ? "behind" : "head";
      }
    }
  }

  end(): void {
    if (this.#at === "behind") return;
    if (this.#at !== "file" && !this.#hasFile) this.#lacksFile();
    throw new TrineError("malformed", "the form is cut off");
  }

  /** The next delimiter; without its end: what stands before `at` is none, the rest may become one. */
  #next(): { readonly at: number; readonly end?: DelimiterEnd } {
    const held = this.#held;
    const { length } = this.#delimiter;
    for (let from = 0; ; from += 1) {
      from = held.indexOf(this.#delimiter, from);
      if (from < 0) return { at: Math.max(0, held.length - length + 1) };
      const end = endOf(held.subarray(from + length));
      if (end === "open") return { at: from };
      if (end !== undefined) return { at: from, end: { ...end, bytes: length + end.bytes } };
    }
  }

  #lacksFile(): never {
    throw new TrineError("malformed", `the form has no field ${FIELD}`);
  }

  /** Of a part; false where not all of it is there. */
  #readHead(): boolean {
    const end = this.#held.indexOf(HEAD_END);
    if (end > MAX_HEAD || (end < 0 && this.#held.length > MAX_HEAD)) {
      throw new TrineError("malformed", "the form: the headers of a field are too long");
    }
    if (end < 0) return false;
    const head = this.#held.subarray(0, end).toString("latin1");
    this.#skip(end + HEAD_END.length);
    this.#at = isFile(head) && !this.#hasFile ? "file" : "between";
    return true;
  }

  #skip(bytes: number): void {
    this.#held = this.#held.subarray(bytes);
    this.#otherBytes += bytes;
    if (this.#otherBytes <= MAX_OTHER) return;
    throw new TrineError("malformed", `the form has more than ${MAX_OTHER} bytes beside its file`);
  }
}

interface DelimiterEnd {
  readonly bytes: number;
  /** No part comes behind it. */
  readonly isLast: boolean;
}

/** What follows a boundary: it is a delimiter before `--`, and before the end of its line (RFC 2046, 5.1.1). `open`: that is still to come. */
function endOf(rest: Buffer): DelimiterEnd | "open" | undefined {
  const text = rest.subarray(0, MAX_PADDING + 2).toString("latin1");
  if (text.startsWith("--")) return { bytes: 2, isLast: true };
  const [padding = ""] = /^[ \t]*/.exec(text) ?? [];
  if (text.startsWith("\r\n", padding.length)) return { bytes: padding.length, isLast: false };
  const left = text.slice(padding.length);
  const mayGoOn = left === "" || left === "\r" || (left === "-" && padding === "");
  return mayGoOn && rest.length < MAX_PADDING + 2 ? "open" : undefined;
}

function isFile(head: string): boolean {
  const line = head.split("\r\n").find((each) => /^content-disposition: *form-data *;/i.test(each));
  const [, quoted, plain] = /; *name=(?:"([^"]*)"|([^\s;"]+))/i.exec(line ?? "") ?? [];
  return (quoted ?? plain) === FIELD;
}

import { once } from "node:events";
import { createWriteStream } from "node:fs";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { TrineError, errnoOf, messageOf, quote } from "@trine/base";

/** A file that gets what a console shows. */
export class Recording {
  readonly stream: Writable;
  /** Rejects when it cannot be written any more. */
  readonly failed: Promise<never>;

  private constructor(stream: Writable, path: string) {
    this.stream = stream;
    this.failed = once(stream, "error").then(([cause]) => {
      const what = `recording ${quote(path)}: ${messageOf(cause)}`;
      throw new TrineError("exhausted", what, { cause });
    });
    this.failed.catch(() => undefined); // who shows the console waits for it
  }

  /** Makes the file, readable by its owner; kind `alreadyExists` for one that is there. */
  static async open(path: string): Promise<Recording> {
    const stream = createWriteStream(path, { flags: "wx", mode: 0o600 });
    try {
      await once(stream, "open");
    } catch (cause) {
      const kind = errnoOf(cause) === "EEXIST" ? "alreadyExists" : "invalid";
      throw new TrineError(kind, `recording: ${messageOf(cause)}`, { cause });
    }
    return new Recording(stream, path);
  }

  /** Ends it when all has been written. */
  async close(): Promise<void> {
    if (this.stream.errored !== null) return;
    this.stream.end();
    await finished(this.stream);
  }
}

import { appendFile, mkdir, open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, sleep } from "@trine/base";
import type { Io } from "../io.ts";

const MAX_BYTES = 1024 * 1024;
const MAX_MESSAGE = 2_000;
const EVERY_MS = 250;

/** What containerd cannot tell of a pod, because it happened here. */
export interface Note {
  /** ISO 8601 */
  readonly time: string;
  readonly type: "StartFailed";
  readonly namespace: string;
  readonly pod: string;
  readonly message: string;
}

/** `<dataDir>/events.log`, a JSON object a line; at 1 MiB it becomes events.log.1, and the one before goes. */
export class Notes {
  readonly #path: string;

  constructor({ dataDir }: Pick<Io, "dataDir">) {
    this.#path = join(dataDir, "events.log");
  }

  async add(note: Omit<Note, "time">): Promise<void> {
    await mkdir(join(this.#path, ".."), { recursive: true, mode: 0o700 });
    if ((await this.#size()) > MAX_BYTES) await rename(this.#path, `${this.#path}.1`);
    const line = { time: new Date().toISOString(), ...note };
    line.message = line.message.slice(0, MAX_MESSAGE);
    // One write of a file opened for appending: lines of several processes do not mix.
    await appendFile(this.#path, `${JSON.stringify(line)}\n`, { mode: 0o600 });
  }

  /** Those not older than `since` (ms since 1970) that are there. */
  async since(since: number): Promise<Note[]> {
    const texts = [await this.#read(`${this.#path}.1`, 0), await this.#read(this.#path, 0)];
    return notesOf(texts.join("")).filter(({ time }) => Date.parse(time) >= since);
  }

  /** Those that are added from now on, until the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<Note> {
    let at = await this.#size();
    while (!signal.aborted) {
      const text = await this.#read(this.#path, at);
      const whole = text.slice(0, text.lastIndexOf("\n") + 1);
      at += Buffer.byteLength(whole);
      yield* notesOf(whole);
      // A file that is shorter is a new one.
      if ((await this.#size()) < at) at = 0;
      await sleep(EVERY_MS, signal).catch(() => undefined); // the loop's head looks
    }
  }

  async #size(): Promise<number> {
    const found = await stat(this.#path).catch(unlessAbsent);
    return found?.size ?? 0;
  }

  async #read(path: string, from: number): Promise<string> {
    const file = await open(path).catch(unlessAbsent);
    if (file === undefined) return "";
    await using opened = file;
    const bytes = Buffer.alloc(2 * MAX_BYTES);
    const { bytesRead } = await opened.read(bytes, 0, bytes.length, from);
    return bytes.toString("utf8", 0, bytesRead);
  }
}

function unlessAbsent(cause: unknown): undefined {
  if (errnoOf(cause) !== "ENOENT") throw cause;
}

function notesOf(text: string): Note[] {
  return text.split("\n").flatMap((line) => {
    try {
      return [JSON.parse(line) as Note];
    } catch {
      return []; // a line that a full disk cut
    }
  });
}

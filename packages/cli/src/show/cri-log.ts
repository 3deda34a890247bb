import { open, readdir, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, errnoOf, kindOf, sleep } from "@trine/base";

const CHUNK_BYTES = 64 * 1024;
const POLL_MS = 100;
/** containerd cuts a line every 16 KiB; anything far longer is no CRI log. */
const MAX_LINE_BYTES = 1024 * 1024;
/** So many are held before the first of them are let go. */
const SPARE_LINES = 1000;
/** Between entries: nothing more is there now. */
const ALL_READ = Symbol("all read");

/** A line of a CRI log file, or a part of one: then `text` has no line end. */
export interface LogEntry {
  readonly stamp: string;
  readonly stream: "stdout" | "stderr";
  readonly text: Buffer;
}

/** `STAMP STREAM P|F TEXT`; undefined for what is no such line. */
export function parseLogLine(line: Buffer): LogEntry | undefined {
  const head = /^(\S+) (stdout|stderr) ([PF])(?:$| )/.exec(line.subarray(0, 80).toString("latin1"));
  if (head === null) return undefined;
  const [whole, stamp = "", stream, tag] = head;
  const text = line.subarray(whole.length);
  return {
    stamp,
    stream: stream === "stderr" ? "stderr" : "stdout",
    text: tag === "F" ? Buffer.concat([text, Buffer.from("\n")]) : text,
  };
}

export interface Follow {
  readonly signal: AbortSignal;
  /** Whether nothing will be written any more; undefined = read what there is and end. */
  readonly ended?: () => Promise<boolean>;
}

/**
 * Reads a CRI log with the files it was rotated into, oldest first; with `ended` it waits for more until that
 * says so and all of it was read. A rotation at any time, also several while the reader is held up, loses and
 * doubles nothing but files that were removed before they could be opened.
 */
export async function* readLog(path: string, follow: Follow): AsyncGenerator<LogEntry> {
  for await (const entry of readAll(path, follow)) if (entry !== ALL_READ) yield entry;
}

/** As `readLog`, of what is there at first only the last lines; what comes behind them is all told. One reading. */
export async function* readLastLines(
  path: string,
  count: number,
  follow: Follow,
): AsyncGenerator<LogEntry> {
  let kept: LastLines | undefined = new LastLines(count);
  for await (const entry of readAll(path, follow)) {
    if (entry !== ALL_READ) {
      if (kept === undefined) yield entry;
      else kept.add(entry);
    } else if (kept !== undefined) {
      yield* kept.entries();
      kept = undefined;
    }
  }
  // The file that would have been the last is gone.
  if (kept !== undefined) yield* kept.entries();
}

/** Holds little more than it is to tell. */
class LastLines {
  readonly #count: number;
  #entries: LogEntry[] = [];
  #ends = 0;

  constructor(count: number) {
    this.#count = count;
  }

  add(entry: LogEntry): void {
    this.#entries.push(entry);
    if (isEnd(entry)) this.#ends += 1;
    // Not with each line: what is left has to be moved.
    if (this.#ends > 2 * this.#count + SPARE_LINES) this.entries();
  }

  entries(): readonly LogEntry[] {
    let start = 0;
    for (; this.#ends > this.#count; start++) {
      const entry = this.#entries[start];
      if (entry !== undefined && isEnd(entry)) this.#ends -= 1;
    }
    this.#entries = this.#entries.slice(start);
    return this.#entries;
  }
}

/** Whether a line ends with it. */
export function isEnd({ text }: LogEntry): boolean {
  return text.at(-1) === 10;
}

type Read = LogEntry | typeof ALL_READ;

async function* readAll(path: string, follow: Follow): AsyncGenerator<Read> {
  let file = await openAfter(path);
  if (file === undefined) {
    yield ALL_READ;
    file = await openFirst(path, follow);
  }
  while (file !== undefined) {
    let next: FileHandle | undefined;
    try {
      next = yield* readFile(path, file, follow);
    } finally {
      await file.close();
    }
    file = next;
  }
}

/** Answers the file after this one, open; undefined when all was read. */
async function* readFile(
  path: string,
  file: FileHandle,
  { signal, ended }: Follow,
): AsyncGenerator<Read, FileHandle | undefined> {
  let rest = Buffer.alloc(0);
  let isSeen = false;
  for (;;) {
    // Both asked before the read: what was written before the end is then in this read or an earlier one.
    const last = ended === undefined || (await ended());
    const next = await placeAfter(path, file);
    for await (const chunk of chunksOf(file)) {
      const lines = splitLines(Buffer.concat([rest, chunk]));
      rest = lines.rest;
      if (rest.length > MAX_LINE_BYTES) throw new TrineError("malformed", `${path}: no CRI log`);
      for (const line of lines.whole) {
        const entry = parseLogLine(line);
        if (entry !== undefined) yield entry;
      }
    }
    // The runtime makes the new file a moment before it leaves the old one: that is read once more.
    if (next !== undefined && (next !== path || isSeen || last)) {
      const opened = await openAfter(path, file);
      if (opened !== undefined) return opened;
    }
    if (next === undefined) yield ALL_READ;
    if (last) return undefined;
    isSeen = next !== undefined;
    await nap(signal);
  }
}

/**
 * The name of the file that goes on where an open one ends, of the oldest without one; undefined = there is
 * none. One that has been removed was older than all that are left.
 */
async function placeAfter(path: string, file?: FileHandle): Promise<string | undefined> {
  const own = file && (await file.stat({ bigint: true })).ino;
  // Looked at before the names: what has lost this name by now is among them.
  const current = await inodeOf(path);
  if (own !== undefined && own === current) return undefined;
  const old = await rotatedFrom(path);
  const inodes = await Promise.all(old.map(inodeOf));
  const at = own === undefined ? -1 : inodes.indexOf(own);
  return old[at + 1] ?? (current === undefined ? undefined : path);
}

/** Opens it; a name that went to another file meanwhile is looked for again. */
async function openAfter(path: string, file?: FileHandle): Promise<FileHandle | undefined> {
  for (;;) {
    const place = await placeAfter(path, file);
    if (place === undefined) return undefined;
    const opened = await open(place).catch(unlessAbsent);
    if (opened === undefined) continue;
    const { ino } = await opened.stat({ bigint: true });
    const now = await placeAfter(path, file);
    if (now !== undefined && (await inodeOf(now)) === ino) return opened;
    await opened.close();
  }
}

async function inodeOf(path: string): Promise<bigint | undefined> {
  return (await stat(path, { bigint: true }).catch(unlessAbsent))?.ino;
}

/** `0.log.20261121T163000123`, as trined names them; their names sort by time. */
async function rotatedFrom(path: string): Promise<string[]> {
  const names = (await readdir(dirname(path)).catch(unlessAbsent)) ?? [];
  const own = `${basename(path)}.`;
  return names
    .filter((name) => name.startsWith(own) && /^\d{8}T\d{9}$/.test(name.slice(own.length)))
    .sort()
    .map((name) => join(dirname(path), name));
}

function unlessAbsent(cause: unknown): undefined {
  if (errnoOf(cause) !== "ENOENT") throw cause;
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

function splitLines(bytes: Buffer): { whole: Buffer[]; rest: Buffer<ArrayBuffer> } {
  const whole: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    whole.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return { whole, rest: Buffer.from(bytes.subarray(start)) };
}

/** A container that has just been made may not have its file yet. */
async function openFirst(path: string, { signal, ended }: Follow): Promise<FileHandle | undefined> {
  for (;;) {
    const last = ended === undefined || (await ended());
    const file = await openAfter(path);
    if (file !== undefined || last) return file;
    await nap(signal);
  }
}

async function nap(signal: AbortSignal): Promise<void> {
  try {
    await sleep(POLL_MS, signal);
  } catch (cause) {
    throw new TrineError(kindOf(cause), "interrupted", { cause });
  }
}

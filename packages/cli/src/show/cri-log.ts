import { open, readdir, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, errnoOf, kindOf, sleep } from "@trine/base";

const CHUNK_BYTES = 64 * 1024;
const POLL_MS = 100;
/** containerd cuts a line every 16 KiB; anything far longer is no CRI log. */
const MAX_LINE_BYTES = 1024 * 1024;

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
 * says so and all of it was read, over rotations too.
 */
export async function* readLog(path: string, follow: Follow): AsyncGenerator<LogEntry> {
  const once = { signal: follow.signal };
  for (const old of await rotatedFrom(path)) yield* readFile(old, once);
  for (let renamed = true; renamed;) renamed = yield* readFile(path, follow);
}

/** Answers whether it ended because another file has the name now. */
async function* readFile(
  path: string,
  { signal, ended }: Follow,
): AsyncGenerator<LogEntry, boolean> {
  await using file = await openLog(path, { signal, ...(ended === undefined ? {} : { ended }) });
  if (file === undefined) return false;
  let rest = Buffer.alloc(0);
  for (;;) {
    // Asked before the read: what was written before the end is then in this read or an earlier one.
    const last = ended === undefined || (await ended());
    const renamed = ended !== undefined && (await isRenamed(path, file));
    for await (const chunk of chunksOf(file)) {
      const lines = splitLines(Buffer.concat([rest, chunk]));
      rest = lines.rest;
      if (rest.length > MAX_LINE_BYTES) throw new TrineError("malformed", `${path}: no CRI log`);
      for (const line of lines.whole) {
        const entry = parseLogLine(line);
        if (entry !== undefined) yield entry;
      }
    }
    if (renamed) return true;
    if (last) return false;
    await nap(signal);
  }
}

/** Another file has the name: the runtime writes to that one. */
async function isRenamed(path: string, file: FileHandle): Promise<boolean> {
  const [own, now] = await Promise.all([file.stat(), stat(path).catch(unlessAbsent)]);
  return now !== undefined && now.ino !== own.ino;
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
async function openLog(path: string, { signal, ended }: Follow): Promise<FileHandle | undefined> {
  for (;;) {
    const last = ended === undefined || (await ended());
    try {
      return await open(path);
    } catch (cause) {
      if (errnoOf(cause) !== "ENOENT") throw cause;
      if (last) return undefined;
    }
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

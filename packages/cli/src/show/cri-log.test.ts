import { execFileSync } from "node:child_process";
import { appendFile, mkdtemp, open, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readLastLines, readLog } from "./cri-log.ts";
import type { LogEntry } from "./cri-log.ts";

const never = new AbortController().signal;
let dir: string;
let path: string;
let isOver: boolean;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-log-"));
  path = join(dir, "0.log");
  isOver = false;
});
afterEach(() => rm(dir, { recursive: true }));

const rotated = (minute: number): string => `${path}.20261121T17${String(minute)}00000`;

function write(file: string, ...words: readonly string[]): Promise<void> {
  return appendFile(file, words.map((word) => `2026-11-21T17:00:00Z stdout F ${word}\n`).join(""));
}

/** As trined and the runtime do it. */
async function rotate(minute: number): Promise<void> {
  await rename(path, rotated(minute));
  await writeFile(path, "");
}

function follow(): AsyncGenerator<LogEntry> {
  return readLog(path, { signal: never, ended: () => Promise.resolve(isOver) });
}

async function next(log: AsyncGenerator<LogEntry>): Promise<string | undefined> {
  const { value } = (await log.next()) as { value: LogEntry | undefined };
  return value?.text.toString().trim();
}

async function rest(log: AsyncGenerator<LogEntry>): Promise<string[]> {
  const words: string[] = [];
  for (let word = await next(log); word !== undefined; word = await next(log)) words.push(word);
  return words;
}

test("files that were rotated come first, oldest first; others beside them are none", async () => {
  await write(rotated(12), "c", "d");
  await write(rotated(11), "a", "b");
  await write(path, "e");
  await write(join(dir, "1.log"), "of another container");
  await write(`${path}.gz`, "packed");
  expect(await rest(readLog(path, { signal: never }))).toEqual(["a", "b", "c", "d", "e"]);
});

test("a rotation while older files are read loses and doubles nothing", async () => {
  await write(rotated(11), "a", "b");
  await write(path, "c", "d");
  const log = readLog(path, { signal: never });
  expect(await next(log)).toBe("a");
  await rotate(12);
  await write(path, "e");
  await rotate(13);
  await write(path, "f");
  expect(await rest(log)).toEqual(["b", "c", "d", "e", "f"]);
});

test("a reader that follows and is held up over several rotations reads the files between", async () => {
  await write(path, "a", "b");
  const log = follow();
  expect(await next(log)).toBe("a");
  await write(path, "c");
  for (const [minute, word] of [
    [11, "d"],
    [12, "e"],
    [13, "f"],
  ] as const) {
    await rotate(minute);
    await write(path, word);
  }
  expect([await next(log), await next(log), await next(log)]).toEqual(["b", "c", "d"]);
  await rotate(14);
  await write(path, "g");
  expect([await next(log), await next(log), await next(log)]).toEqual(["e", "f", "g"]);
  await write(path, "h");
  isOver = true;
  expect(await rest(log)).toEqual(["h"]);
});

test("files that were removed meanwhile are left out, and those after them are not", async () => {
  await write(path, "a", "b");
  const log = follow();
  expect(await next(log)).toBe("a");
  await rotate(11);
  await write(path, "lost");
  await rotate(12);
  await write(path, "c");
  await rotate(13);
  await write(path, "d");
  for (const minute of [11, 12]) await rm(rotated(minute));
  isOver = true;
  expect(await rest(log)).toEqual(["b", "c", "d"]);
});

test("what is written to the renamed file, until the new one is there and a moment after, is read", async () => {
  await write(path, "a");
  // One a look at the file.
  const steps: (() => Promise<void>)[] = [];
  const log = readLog(path, {
    signal: never,
    ended: async () => {
      await steps.shift()?.();
      return isOver;
    },
  });
  expect(await next(log)).toBe("a");
  steps.push(
    () => rename(path, rotated(11)),
    () => write(rotated(11), "b"),
    () => write(path, "d"),
    () => write(rotated(11), "c"),
  );
  expect([await next(log), await next(log), await next(log)]).toEqual(["b", "c", "d"]);
  isOver = true;
  expect(await rest(log)).toEqual([]);
});

test("a rotation that is taken back changes nothing", async () => {
  await write(path, "a");
  const log = follow();
  expect(await next(log)).toBe("a");
  await rename(path, rotated(11));
  const second = next(log);
  await rename(rotated(11), path);
  await write(path, "b");
  expect(await second).toBe("b");
  isOver = true;
  expect(await rest(log)).toEqual([]);
});

test("a file that is not there yet is waited for, and none is no error", async () => {
  expect(await rest(readLog(path, { signal: never }))).toEqual([]);
  const log = follow();
  const first = next(log);
  await write(path, "a");
  expect(await first).toBe("a");
  await log.return(undefined);
});

const last = (count: number, ended?: () => Promise<boolean>): AsyncGenerator<LogEntry> =>
  readLastLines(path, count, { signal: never, ...(ended && { ended }) });

test("the last lines of several files, however many are asked for; a part of a line is with them", async () => {
  await write(rotated(11), "a", "b");
  await write(path, "c");
  expect(await rest(last(2))).toEqual(["b", "c"]);
  expect(await rest(last(0))).toEqual([]);
  expect(await rest(last(99))).toEqual(["a", "b", "c"]);
  await appendFile(path, "2026-11-21T17:00:00Z stdout P begun\n");
  expect(await rest(last(1))).toEqual(["c", "begun"]);
  const many = Array.from({ length: 5_000 }, (_, index) => String(index));
  await write(path, ...many);
  expect(await rest(last(3))).toEqual(many.slice(-3));
});

test("what comes behind the last lines is told whole, also when the first file goes meanwhile", async () => {
  await write(rotated(11), "a");
  await write(path, "b", "c");
  const log = last(1, () => Promise.resolve(isOver));
  expect(await next(log)).toBe("c");
  await write(path, "d", "e");
  await rm(rotated(11));
  expect([await next(log), await next(log)]).toEqual(["d", "e"]);
  await rotate(12);
  await write(path, "f", "g");
  isOver = true;
  expect(await rest(log)).toEqual(["f", "g"]);
});

test("of a file that comes later all is told", async () => {
  const log = last(1, () => Promise.resolve(isOver));
  const first = next(log);
  await write(path, "a", "b");
  isOver = true;
  expect([await first, ...(await rest(log))]).toEqual(["a", "b"]);
});

test("the last lines are told also when the file after them goes while they are read", async () => {
  // A reader stays with it until its writer has closed it.
  execFileSync("mkfifo", [rotated(11)]);
  await write(path, "lost");
  const first = next(last(1));
  const pipe = await open(rotated(11), "w");
  // More than a pipe holds: once it is written the reader has looked at the names.
  const line = `2026-11-21T17:00:00Z stdout F ${"x".repeat(1000)}\n`;
  await pipe.appendFile(line.repeat(200));
  await pipe.appendFile("2026-11-21T17:00:00Z stdout F a\n");
  await rm(path);
  await pipe.close();
  expect(await first).toBe("a");
});

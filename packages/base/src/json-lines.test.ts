import { expect, test } from "vitest";
import { JsonLines } from "./json-lines.ts";
import type { JsonLine } from "./json-lines.ts";

const LIMITS = { maxLineBytes: 1000, maxDepth: 8 };
const text = new TextEncoder();

function read(lines: JsonLines, bytes: Uint8Array | string): unknown[] {
  const all: JsonLine[] = [...lines.push(typeof bytes === "string" ? text.encode(bytes) : bytes)];
  return all.map((line) => ("value" in line ? line.value : line.error.kind));
}

/** The same numbers on every run: a linear congruential generator. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

test("reads a value a line, with and without carriage returns, and no blank lines", () => {
  expect(read(new JsonLines(LIMITS), '{"a":1}\r\n\r\n\n[2]\n"x"')).toEqual([{ a: 1 }, [2]]);
});

test("gives the same values however the bytes are cut", () => {
  const values = [{ text: 'quo"te \\ {[ "' }, ["é", "\u2028"], { deep: [[[]]] }, 1, null];
  const bytes = text.encode(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
  const below = numbers(7);
  for (let round = 0; round < 200; round += 1) {
    const lines = new JsonLines(LIMITS);
    const got: unknown[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + below(9);
      got.push(...read(lines, bytes.subarray(at, end)));
      at = end;
    }
    expect(got).toEqual(values);
    expect(lines.pending).toBe(0);
  }
});

test("drops a line that is too long, holds nothing of it and reads on", () => {
  const lines = new JsonLines(LIMITS);
  expect(read(lines, `"${"x".repeat(5000)}`)).toEqual(["malformed"]);
  expect(read(lines, "x".repeat(5000))).toEqual([]);
  expect(lines.pending).toBe(0);
  expect(read(lines, '"\n{"ok":true}\n')).toEqual([{ ok: true }]);
  expect(read(new JsonLines(LIMITS), `"${"x".repeat(998)}"\n`)).toHaveLength(1);
});

test("drops what is nested too deep before it is parsed, brackets in strings apart", () => {
  const lines = new JsonLines(LIMITS);
  expect(read(lines, `${"[".repeat(9)}${"]".repeat(9)}\n1\n`)).toEqual(["malformed", 1]);
  expect(read(lines, `"${"[".repeat(99)}"\n`)).toEqual(["[".repeat(99)]);
});

test("reports text that is not JSON or not UTF-8", () => {
  const lines = new JsonLines(LIMITS);
  expect(read(lines, "{bad\n")).toEqual(["malformed"]);
  expect(read(lines, Uint8Array.of(0x22, 0xc0, 0x22, 0x0a))).toEqual(["malformed"]);
});

test("the reset byte throws away the line so far, also one being dropped", () => {
  const lines = new JsonLines({ ...LIMITS, resetByte: 0xff });
  const reset = Uint8Array.of(0xff);
  expect(read(lines, '{"half": "')).toEqual([]);
  expect(read(lines, Buffer.concat([reset, text.encode("1\n")]))).toEqual([1]);
  expect(read(lines, "[".repeat(20))).toEqual(["malformed"]);
  expect(read(lines, Buffer.concat([reset, text.encode("2\n")]))).toEqual([2]);
});

test("random and mutated bytes end in values or kind malformed", () => {
  const below = numbers(99);
  const valid = text.encode('{"return":{"a":[1,"x\\n"]},"id":7}\n{"event":"STOP"}\n');
  for (let round = 0; round < 2000; round += 1) {
    const bytes = Uint8Array.from(valid, (byte) => (below(20) === 0 ? below(256) : byte));
    const lines = new JsonLines({ maxLineBytes: 40, maxDepth: 3 });
    for (const line of lines.push(bytes)) {
      if ("error" in line) expect(line.error.kind).toBe("malformed");
    }
    expect(lines.pending).toBeLessThanOrEqual(40);
  }
});

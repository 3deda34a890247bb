import { expect, test } from "vitest";
import { writeCpio } from "./cpio.ts";
import type { CpioEntry } from "./cpio.ts";

const ENTRIES: readonly CpioEntry[] = [
  { path: "init", kind: "file", data: Buffer.from("#!x"), executable: true },
  { path: "etc/trine/modules", kind: "file", data: Buffer.from("12345") },
  { path: "etc-other", kind: "directory" },
  { path: "dev/null", kind: "device", major: 1, minor: 3, mode: 0o666 },
];

interface Found {
  readonly name: string;
  readonly mode: string;
  readonly data: string;
  readonly device: readonly [number, number];
}

/** Reads an archive back by the format's own description. */
function readCpio(archive: Buffer): Found[] {
  const found: Found[] = [];
  for (let at = 0; at < archive.length;) {
    expect(archive.toString("latin1", at, at + 6)).toBe("070701");
    const field = (index: number): number =>
      Number.parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    // Owner, group and time.
    expect([field(2), field(3), field(5)]).toEqual([0, 0, 0]);
    const name = archive.toString("utf8", at + 110, at + 110 + field(11) - 1);
    const start = Math.ceil((at + 110 + field(11)) / 4) * 4;
    const data = archive.toString("utf8", start, start + field(6));
    found.push({ name, mode: field(1).toString(8), data, device: [field(9), field(10)] });
    at = Math.ceil((start + field(6)) / 4) * 4;
  }
  return found;
}

test("holds what it was given, parents first, and ends as the kernel expects", () => {
  expect(readCpio(writeCpio(ENTRIES))).toEqual([
    { name: "dev", mode: "40755", data: "", device: [0, 0] },
    { name: "dev/null", mode: "20666", data: "", device: [1, 3] },
    { name: "etc", mode: "40755", data: "", device: [0, 0] },
    { name: "etc-other", mode: "40755", data: "", device: [0, 0] },
    { name: "etc/trine", mode: "40755", data: "", device: [0, 0] },
    { name: "etc/trine/modules", mode: "100644", data: "12345", device: [0, 0] },
    { name: "init", mode: "100755", data: "#!x", device: [0, 0] },
    { name: "TRAILER!!!", mode: "0", data: "", device: [0, 0] },
  ]);
});

test("the order of the entries does not matter", () => {
  expect(writeCpio(ENTRIES.toReversed())).toEqual(writeCpio(ENTRIES));
});

test.each([
  ["/init", "no path"],
  ["a/../b", "no path"],
  ["a//b", "no path"],
  ["", "no path"],
  ["a\0b", "no path"],
])("the path %j is refused", (path, says) => {
  expect(() => writeCpio([{ path, kind: "directory" }])).toThrow(says);
});

test("a path twice, or below a file, is refused", () => {
  const file = { path: "a", kind: "file", data: Buffer.alloc(0) } as const;
  expect(() => writeCpio([file, file])).toThrow("comes twice");
  expect(() => writeCpio([file, { path: "a/b", kind: "directory" }])).toThrow("no directory");
});

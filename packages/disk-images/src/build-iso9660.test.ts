import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { buildIso9660 } from "./index.ts";

const text = (value: string) => Buffer.from(value, "utf8");
const seed = [
  { name: "user-data", bytes: text("#cloud-config\n") },
  { name: "meta-data", bytes: text('{"instance-id":"a"}') },
  { name: "network-config", bytes: text("{}") },
];

test("the same files make the same bytes, in any order", () => {
  const image = buildIso9660(seed, { volumeLabel: "cidata" });
  expect(image).toEqual(buildIso9660([...seed].reverse(), { volumeLabel: "cidata" }));
  expect(createHash("sha256").update(image).digest("hex")).toMatchInlineSnapshot(
    `"6f883ac683d75013943a20455c5e3c9311321e89421a6c3854929090ba845b74"`,
  );
});

test("holds label, both kinds of names and the contents", () => {
  const image = buildIso9660(seed, { volumeLabel: "cidata" });
  expect(image.length % 2048).toBe(0);
  expect(image.toString("latin1", 32_768 + 40, 32_768 + 72)).toBe("cidata".padEnd(32));
  expect(image.readUInt32LE(32_768 + 80) * 2048).toBe(image.length);
  for (const { name, bytes } of seed) {
    expect(image.includes(name)).toBe(true);
    expect(image.includes(Buffer.from(name, "utf16le").swap16())).toBe(true);
    expect(image.includes(bytes)).toBe(true);
  }
});

test("a name longer than a record goes on elsewhere, and is cut for Joliet, once each", () => {
  const names = ["a", "b"].map((end) => `${"k".repeat(250)}${end}`);
  const files = names.map((name) => ({ name, bytes: text(name.slice(-1)) }));
  const image = buildIso9660([...files, { name: "k".repeat(64), bytes: text("") }], {
    volumeLabel: "cfgdata",
  });
  for (const end of ["a", "b"])
    expect(image.includes(`NM\x80\x01\0${"k".repeat(122)}${end}`, "latin1")).toBe(true);
  for (const cut of [`${"k".repeat(62)}~1`, `${"k".repeat(62)}~2`, "k".repeat(64)]) {
    const name = Buffer.from(cut, "utf16le").swap16();
    expect(image.includes(Buffer.concat([Buffer.from([128]), name]))).toBe(true);
  }
});

test.each([
  ["../x", /cannot be used/],
  ["a//b", /cannot be used/],
  ["/a", /cannot be used/],
  ["..", /cannot be used/],
  ["", /cannot be used/],
  ["a\nb", /"a\\nb" cannot be used/],
  ["x".repeat(254), /cannot be used/],
  ["1/2/3/4/5/6/7/8", /cannot be used/],
])("refuses the name %j", (name, says) => {
  expect(() => buildIso9660([{ name, bytes: text("") }], { volumeLabel: "cidata" })).toThrow(says);
});

test("refuses a name given twice, a file used as a directory, a bad label, and too much", () => {
  const twice = [...seed, { name: "meta-data", bytes: text("") }];
  expect(() => buildIso9660(twice, { volumeLabel: "cidata" })).toThrow(
    /"meta-data" is given twice/,
  );
  const clash = [...seed, { name: "meta-data/x", bytes: text("") }];
  expect(() => buildIso9660(clash, { volumeLabel: "cidata" })).toThrow(/given twice/);
  expect(() => buildIso9660(seed, { volumeLabel: "c d" })).toThrow(/volume label/);
  const large = [{ name: "a", bytes: Buffer.alloc(64 * 1024 * 1024 + 1) }];
  expect(() => buildIso9660(large, { volumeLabel: "cidata" })).toThrow(/the limit is 67108864/);
  const many = Array.from({ length: 257 }, (_, i) => ({ name: `f${i}`, bytes: text("") }));
  expect(() => buildIso9660(many, { volumeLabel: "cidata" })).toThrow(/257 files/);
});

import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  cloudConfigOf,
  cloudConfigText,
  mergeCloudConfig,
  readCloudConfig,
} from "./merge-user-data.ts";

const config = (yaml: string) => readCloudConfig(`#cloud-config\n${yaml}`, "user-data");
const merged = (base: string, over: string): unknown =>
  parse(cloudConfigText(mergeCloudConfig(config(base), config(over))));

test("mappings are merged key by key, lists one after the other, all else is the second's", () => {
  const base = "users: [a]\nnested: {x: {y: 1, z: [1]}, w: 1}\nhostname: one\nkind: [a]\n";
  const over = "users: [b]\nnested: {x: {y: 2, z: [2]}, v: 3}\nhostname: two\nkind: text\nnew: 1\n";
  expect(merged(base, over)).toEqual({
    users: ["a", "b"],
    nested: { x: { y: 2, z: [1, 2] }, w: 1, v: 3 },
    hostname: "two",
    kind: "text",
    new: 1,
  });
});

test("values mean what they mean to cloud-init, which reads YAML 1.1", () => {
  const text = "p: 0644\nq: [yes, y, off, n, No]\nday: 2027-01-31\nmode: '0644'\n";
  expect(merged(text, "")).toEqual({
    p: 0o644,
    q: [true, "y", false, "n", false],
    day: "2027-01-31",
    mode: "0644",
  });
});

test("of a directory each file is a key", () => {
  const texts = new Map([
    ["users", "- name: a\n"],
    ["write_files", "- {path: /a, content: b}\n"],
    ["timezone", "UTC\n"],
  ]);
  expect(Object.fromEntries(cloudConfigOf(texts, "user-data"))).toEqual({
    users: [{ name: "a" }],
    write_files: [{ path: "/a", content: "b" }],
    timezone: "UTC",
  });
});

test("files are limited together, for all are read in one turn", () => {
  const comment = `#${"-".repeat(16_383)}`;
  const of = (count: number) =>
    new Map(Array.from({ length: count }, (_, i) => [`k${i}`, comment] as const));
  expect([...cloudConfigOf(of(2), "user-data").keys()]).toEqual(["k0", "k1"]);
  expect(() => cloudConfigOf(of(3), "user-data")).toThrow(
    /user-data: 49152 characters: only 32768 are merged/,
  );
});

test("no key reaches what it has no business with", () => {
  const text = cloudConfigText(mergeCloudConfig(config("a: 1"), config("__proto__: {b: 1}")));
  expect(text).toContain('"__proto__"');
  expect(({} as { b?: unknown }).b).toBeUndefined();
});

describe("refuses, naming the key:", () => {
  const laughs = `a: &a [1]\n${Array.from({ length: 80 }, (_, i) => `k${i}: *a`).join("\n")}`;
  test.each([
    ["a script", "#!/bin/sh\n", /user-data: is not #cloud-config, and nothing else can be merged/],
    ["a list", "#cloud-config\n- a\n", /user-data: .*something else than `key: value`/],
    ["broken YAML", "#cloud-config\na: [\n", /user-data: not YAML: line 3/],
    ["what expands", `#cloud-config\n${laughs}`, /user-data: has too many or unknown aliases/],
    [
      "what is deep",
      `#cloud-config\na: ${"[".repeat(100)}${"]".repeat(100)}`,
      /user-data: nested too deeply/,
    ],
    [
      "what is long",
      `#cloud-config\n${"#".repeat(40_000)}`,
      /40014 characters: only 32768 are merged/,
    ],
    [
      "a large number",
      "#cloud-config\na: 12345678901234567890\n",
      /the number \d+ cannot be kept: quote it/,
    ],
    ["no number", "#cloud-config\na: .inf\n", /the number Infinity cannot be kept: quote it/],
    ["a set", "#cloud-config\na: !!set {x}\n", /a YAML tag that cannot be merged/],
  ])("%s", (_, text, says) => {
    expect(() => readCloudConfig(text, "user-data")).toThrow(says);
  });
});

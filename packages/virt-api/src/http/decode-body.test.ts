import * as v from "valibot";
import { expect, test } from "vitest";
import { parseDurationMs } from "../subresources/options.ts";
import { decodeBody, parseBody } from "./decode-body.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const schema = v.object({ paused: v.nullish(v.boolean()) });

test.each([
  ["", {}],
  ["  \n", {}],
  ["{}", {}],
  ['{"paused":true}', { paused: true }],
  ["paused: true\n", { paused: true }],
  ['{"paused":null,"unknown":1}', { paused: null }],
])("%j is read", (text, value) => {
  expect(decodeBody(bytes(text), schema)).toEqual(value);
});

test.each([
  ["broken JSON", '{"paused":'],
  ["a wrong type", '{"paused":1}'],
  ["a list", "[]"],
  ["broken YAML", "a: [b"],
  ["references, which multiply", "a: &a [x]\nb: *a\n"],
  ["depth", `${'{"a":'.repeat(200)}1${"}".repeat(200)}`],
])("%s is refused in KubeVirt's words", (_, text) => {
  expect(() => decodeBody(bytes(text), schema)).toThrow(
    /^Can not unmarshal Request body to struct, error: /,
  );
});

test("a prototype is not written by a body", () => {
  parseBody(bytes('{"__proto__":{"polluted":true}}'));
  parseBody(bytes("__proto__:\n  polluted: true\n"));
  expect({}).not.toHaveProperty("polluted");
});

test.each([
  ["30s", 30_000],
  ["1h2m3s", 3_723_000],
  ["1.5s", 1_500],
  ["250ms", 250],
  ["0", 0],
  ["0s", 0],
  ["", undefined],
  ["30", undefined],
  ["-1s", undefined],
  ["soon", undefined],
  ["1s ", undefined],
])("the duration %j is %s ms", (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

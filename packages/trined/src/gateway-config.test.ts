import { expect, test } from "vitest";
import { CONFIG_VERSION, parseConfig } from "./config.ts";

function parse(...lines: string[]): unknown {
  const text = [`apiVersion: ${CONFIG_VERSION}`, "gateway:", ...lines.map((line) => `  ${line}`)];
  return parseConfig(text.join("\n"), "test").gateway;
}

const BACK_ENDS = "backEnds: [{name: a, socket: /run/a.sock}, {name: b, socket: /run/b.sock}]";

test("there is no gateway unless back ends are named", () => {
  expect(parse("rules: []")).toMatchObject({ backEnds: [], socket: "/run/trine-cri.sock" });
});

test("takes rules as data", () => {
  const rules = "rules: [{handler: kata, backEnd: b}, {imagePrefix: virtlet.cloud/, backEnd: b}]";
  expect(parse(BACK_ENDS, rules, "untrusted: {handler: trine-microvm}")).toMatchObject({
    rules: [{ handler: "kata" }, { imagePrefix: "virtlet.cloud/" }],
    untrusted: { handler: "trine-microvm", backEnd: "", hostAccess: "refuse" },
  });
});

test.each([
  ["rules: [{handler: x, backEnd: c}]", /no back end has the name c/],
  ["untrusted: {handler: x, backEnd: c}", /no back end has the name c/],
  ["rules: [{backEnd: a}]", /exactly one of/],
  ["rules: [{handler: x, targetRuntime: y, backEnd: a}]", /exactly one of/],
  ["rules: [{imagePrefix: x, useHandler: y, backEnd: a}]", /useHandler is for pods/],
  ["socket: /run/b.sock", /two of the sockets/],
  ["group: '../x'", /name or number of a group/],
  ["streamAddress: 127.0.0.1", /HOST:PORT is wanted/],
  ["streamAddress: '127.0.0.1:99999'", /HOST:PORT is wanted/],
  ["colour: red", /no such field/],
])("refuses %s", (line, words) => {
  expect(() => parse(BACK_ENDS, line)).toThrow(words);
});

test("refuses two back ends of one name", () => {
  const line = "backEnds: [{name: a, socket: /run/a.sock}, {name: a, socket: /run/b.sock}]";
  expect(() => parse(line)).toThrow(/one name/);
});

test.each([
  ["streaming: sometimes", /auto.*direct.*relay/],
  ["streamVia: somewhere", /HOST:PORT or a path/],
  ["streaming: direct, streamVia: /run/s.sock", /streaming is direct/],
])("refuses a back end with %s", (fields, words) => {
  expect(() => parse(`backEnds: [{name: a, socket: /run/a.sock, ${fields}}]`)).toThrow(words);
});

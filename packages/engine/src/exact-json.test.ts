import { expect, test } from "vitest";
import { parseExactJson } from "./exact-json.ts";

test.each([
  '{"rlimits":[{"hard":18446744073709551615,"soft":9007199254740993}],"name":"x"}',
  '{"value":-9223372036854775808,"text":"18446744073709551615"}',
  '{"small":9007199254740991,"half":0.5}',
])("64-bit numbers come out as they went in: %s", (text) => {
  expect(JSON.stringify(parseExactJson(text))).toBe(text);
});

test("ordinary numbers are numbers", () => {
  expect(parseExactJson('{"a":1,"b":9007199254740993,"c":1e3}')).toMatchObject({ a: 1, c: 1000 });
});

test("what is no JSON is refused", () => {
  expect(() => parseExactJson('{"a":18446744073709551615')).toThrow(SyntaxError);
});

import { expect, test } from "vitest";
import { readRootHeader, rootHeader } from "./root-header.ts";

const SHA = "ab".repeat(32);

test.each(["writing", "complete"] as const)("a header that says %s is read as that", (state) => {
  const text = rootHeader(state, SHA);
  expect(text).toHaveLength(4096);
  expect(readRootHeader(text + "disk")).toEqual({ is: state, sha256: SHA });
});

test.each([
  ["", "empty"],
  ["\0".repeat(5000), "empty"],
  [`${"\0".repeat(510)}\x55\xaa`, "foreign"],
  ["trine-root {", "foreign"],
  ["trine-root []\n", "later"],
  ['trine-root {"version":1,"state":"half","sha256":""}\n', "foreign"],
  [`trine-root {"version":1,"state":"complete","sha256":"${SHA}x"}\n`, "foreign"],
  ['trine-root {"version":2}\n', "later"],
])("%# is not taken for a root", (text, is) => {
  if (is === "later") expect(() => readRootHeader(text)).toThrow(/version .*this release reads 1/);
  else expect(readRootHeader(text)).toEqual({ is });
});

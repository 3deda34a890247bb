import { expect, test } from "vitest";
import type { ObjectMeta } from "../schema/metadata.ts";
import { Report } from "./report.ts";
import { checkTemplateMetadata } from "./template-metadata.ts";

test.each<[string, unknown, readonly string[]]>([
  ["none", undefined, []],
  ["null", null, []],
  ["of text", { labels: { a: "b" }, annotations: { a: "b" } }, []],
  ["null in it", { labels: null, annotations: null }, []],
  [
    "what YAML reads as something else",
    { annotations: { ready: true, count: 1 } },
    [
      "t.annotations[ready] must be text: put it in quotes",
      "t.annotations[count] must be text: put it in quotes",
    ],
  ],
  [
    "a label that is none",
    { labels: { a: false } },
    ["t.labels[a] must be text: put it in quotes"],
  ],
  ["no mapping", { labels: ["a"] }, ["t.labels must be a mapping"]],
  [
    "a label's value",
    { labels: { a: "b c" } },
    ['t.labels[a] is "b c", which is not the value of a label'],
  ],
])("a template's metadata: %s", (_, metadata, wanted) => {
  const report = new Report();
  checkTemplateMetadata(metadata as ObjectMeta, "t", report);
  expect(report.causes.map(({ message }) => message)).toEqual(wanted);
});

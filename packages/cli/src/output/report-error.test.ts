import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { parse } from "yaml";
import { ERROR_KINDS, TrineError } from "@trine/base";
import { expect, test } from "vitest";
import { parseAs } from "../testing/schema.ts";
import { errorFormOf, reportError } from "./report-error.ts";
import type { ErrorForm } from "../io.ts";

async function told(errorForm: ErrorForm, cause: unknown): Promise<string> {
  const stderr = new PassThrough();
  await reportError({ stderr, errorForm }, cause);
  stderr.end();
  return text(stderr);
}

test("each kind of error as metav1.Status, on one line of JSON", async () => {
  for (const kind of ERROR_KINDS) {
    const line = await told("json", new TrineError(kind, "no pod web\nhere"));
    expect(line.trimEnd().split("\n")).toHaveLength(1);
    const status = parseAs("status", line);
    expect(status).toMatchObject({ kind: "Status", apiVersion: "v1", status: "Failure" });
    expect(status).toMatchObject({ message: "no pod web\nhere" });
  }
  const line = await told("json", new TrineError("notFound", "x"));
  expect(JSON.parse(line)).toMatchObject({
    ...{ reason: "NotFound", code: 404 },
    details: { causes: [{ reason: "ExitCode", message: "3" }] },
  });
});

test("as YAML the same; as text without what a terminal would obey", async () => {
  const yaml: unknown = parse(await told("yaml", new Error("boom")));
  expect(parseAs("status", JSON.stringify(yaml))).toMatchObject({ reason: "InternalError" });
  expect(await told("text", new Error("a\u001b[2Jb\nc"))).toBe("trine: a?[2Jb\nc\n");
});

test.each([
  [["ps", "-o", "json"], "json"],
  [["ps", "-ojson", "x"], "json"],
  [["ps", "--output=yaml"], "yaml"],
  [["ps", "--output", "yaml", "-o", "wide"], "text"],
  [["exec", "web", "--", "ls", "-o", "json"], "text"],
  [["ps", "-o", "jsonpath={.a}"], "text"],
  [["ps", "-o"], "text"],
  [[], "text"],
])("of %j the form of errors is %s", (argv, form) => {
  expect(errorFormOf(argv)).toBe(form);
});

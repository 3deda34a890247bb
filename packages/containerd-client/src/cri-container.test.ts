import { expect, test } from "vitest";
import { configIn } from "./cri-container.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("a container's configuration is found in CRI's record of it", () => {
  const record = { Version: "v1", Metadata: { ID: "c", Config: { linux: { a: 1 } } } };
  expect(configIn(bytes(JSON.stringify(record)))).toEqual({ linux: { a: 1 } });
});

test.each([
  ["", "null", "[]", "{", "1"],
  [
    '{"Version":"v2","Metadata":{"Config":{}}}',
    '{"Version":"v1"}',
    '{"Version":"v1","Metadata":3}',
  ],
])("a record of another form has none: %s", (...records) => {
  for (const record of records) expect(configIn(bytes(record))).toBeUndefined();
});

import { expect, test } from "vitest";
import { readOsRelease } from "./agent-voice.ts";

test.each<[string, Readonly<Record<string, string>>]>([
  [
    'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n',
    { ID: "debian", PRETTY_NAME: "Debian GNU/Linux 12" },
  ],
  ["NAME='a b'\r\n# ID=no\nVERSION_ID=\n", { NAME: "a b" }],
  [`${"x\n".repeat(100)}ID=late`, {}],
  [`ID=${"y".repeat(5_000)}`, { ID: "y".repeat(1_021) }],
  ["", {}],
])("os-release %#", (text, found) => {
  expect(Object.fromEntries(readOsRelease(text))).toEqual(found);
});

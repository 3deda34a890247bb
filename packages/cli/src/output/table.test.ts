import { expect, test } from "vitest";
import { table } from "./table.ts";

test("pads columns to their widest cell and leaves nothing behind the last", () => {
  const text = table(
    ["POD", "STATE"],
    [
      ["a-long-name", "up"],
      ["b", ""],
    ],
  );
  expect(text).toBe("POD          STATE\na-long-name  up\nb\n");
});

test("a table without rows is its header", () => {
  expect(table(["POD"], [])).toBe("POD\n");
});

test("control characters of others never reach the terminal", () => {
  expect(table(["POD"], [["evil\x1b[2J\nname"]])).toBe("POD\nevil?[2J?name\n");
});

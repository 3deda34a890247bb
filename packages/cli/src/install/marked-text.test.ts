import { expect, test } from "vitest";
import { isOwnFile, ownFile, withBlock, withTurnedLine, withoutOurs } from "./marked-text.ts";

const NRI = { header: '[plugins."io.containerd.nri.v1.nri"]', key: "disable", value: "false" };

test.each(["", "a = 1\n", "a = 1", "\n", "# >>> somebody else's\n", "[x]\r\na = 1\r\n", "a\n\n\n"])(
  "a block in %j is taken out without a trace, alone and with another",
  (text) => {
    const one = withBlock(text, "handlers", "[a]\nb = 1\n");
    expect(one).toContain("\n[a]\nb = 1\n");
    expect(withoutOurs(one)).toBe(text);
    const two = withBlock(one, "gvisor", "[c]\n");
    expect(withoutOurs(two)).toBe(text);
    expect(withBlock(two, "handlers", "[a]\nb = 1\n")).toBe(two);
    const other = withBlock(two, "handlers", "[d]\n");
    expect(other).not.toContain("[a]");
    expect(withoutOurs(other)).toBe(text);
  },
);

test("what others write behind a block stays, on lines of its own", () => {
  const text = `${withBlock("a = 1", "handlers", "[b]\n")}[mine]\n`;
  expect(withoutOurs(text)).toBe("a = 1\n[mine]\n");
});

test("a block whose end is gone is refused, with what to do", () => {
  const text = withBlock("", "handlers", "[b]\n").replace("# <<<", "# ---");
  expect(() => withBlock(text, "handlers", "[c]\n")).toThrow(/restore its last line, "# <<< trine/);
  expect(() => withoutOurs(text)).toThrow(/begins but does not end/);
});

test.each([
  `[plugins."io.containerd.nri.v1.nri"]\n  disable = true\n`,
  `[plugins]\n  [plugins.'io.containerd.nri.v1.nri'] # off\n    x = 1\n    disable=true # why\n[y]\ndisable = true\n`,
])("a value is turned once, and back: %j", (text) => {
  const turned = withTurnedLine(text, NRI) ?? "";
  expect(turned).toMatch(/^ *disable ?= ?false # trine install: was true/m);
  expect(turned.match(/trine install/g)).toHaveLength(1);
  expect(withTurnedLine(turned, NRI)).toBe(turned);
  expect(withoutOurs(turned)).toBe(text);
});

test.each([
  "",
  "[x]\ndisable = true\n",
  `[plugins."io.containerd.nri.v1.nri"]\n[x]\ndisable = 1\n`,
])("no value of another table is turned: %j", (text) => {
  expect(withTurnedLine(text, NRI)).toBeUndefined();
});

test("a file of ours goes whole, blocks of ours and all; one that somebody changed stays theirs", () => {
  const text = ownFile("version = 2\n");
  expect(isOwnFile(text)).toBe(true);
  expect(withoutOurs(text)).toBeUndefined();
  const more = withBlock(text, "handlers", "[a]\n");
  expect(isOwnFile(more)).toBe(true);
  expect(withoutOurs(more)).toBeUndefined();
  expect(isOwnFile(`${text}mine = 1\n`)).toBe(false);
  expect(withoutOurs(`${more}mine = 1\n`)).toBe("version = 2\nmine = 1\n");
  expect(isOwnFile("version = 2\n")).toBe(false);
});

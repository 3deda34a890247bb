import { expect, test } from "vitest";
import { endError } from "./end-error.ts";

const QEMU_IMG = "/usr/bin/qemu-img";

test.each([
  [1, "qemu-img: error while writing at byte 0: File too large\n"],
  ["SIGXFSZ", ""],
  [153, ""],
])("end %s, %j: the input grows beyond the limits", (end, words) => {
  expect(endError(QEMU_IMG, end, words)).toMatchObject({
    kind: "invalid",
    message: expect.stringContaining("--max-expansion") as string,
  });
});

test("a full disk is not the input's fault", () => {
  const words = "qemu-img: error while writing: No space left on device\n";
  expect(endError(QEMU_IMG, 1, words)).toMatchObject({ kind: "exhausted" });
});

test("what the program says of its input is told without control characters", () => {
  expect(endError("/usr/bin/gzip", 1, "first\ngzip: \u001b[31mcrc error\n")).toMatchObject({
    kind: "invalid",
    message: "gzip refuses it: gzip: ?[31mcrc error",
  });
});

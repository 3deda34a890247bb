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

test("whose limit no option has set is told what has", () => {
  const words = "qemu-img: error while writing at byte 0: File too large\n";
  const { message } = endError(QEMU_IMG, 1, words, "the volume's size sets it");
  expect(message).toBe("qemu-img: more data than the limits allow: the volume's size sets it");
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

test.each([
  [96, "mount: /tmp/jail-x: permission denied.\n  dmesg(1) may have more.\n", "permission denied"],
  [1, "unshare: unshare failed: Operation not permitted\n", "Operation not permitted"],
  [1, "trine-rootfs: refuse system calls: Invalid argument\n", "refuse system calls"],
  [127, "setpriv: activate capabilities: Operation not permitted\n", "activate capabilities"],
])("end %s, %j: there is no jail", (end, words, says) => {
  expect(endError(QEMU_IMG, end, words)).toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(`^no jail can be made for qemu-img: .*${says}`) as string,
  });
});

test("a program that is not there is named", () => {
  const words = "setpriv: failed to execute /usr/bin/qemu-img: No such file or directory\n";
  expect(endError(QEMU_IMG, 127, words)).toMatchObject({
    kind: "unavailable",
    message: "/usr/bin/qemu-img is not there: install it",
  });
});

test.each(["SIGKILL", 137])("end %s: memory or time are used up", (end) => {
  expect(endError(QEMU_IMG, end, "")).toMatchObject({ kind: "exhausted" });
});

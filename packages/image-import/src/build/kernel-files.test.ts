import { expect, test } from "vitest";
import { coreAt, mbrCode } from "./boot-code.ts";
import { chooseKernel, parseCommandLine, requireInit } from "./kernel-files.ts";

test.each([
  [["vmlinuz-6.1.0-9-amd64", "initrd.img-6.1.0-9-amd64", "System.map-6.1.0-9-amd64"], "6.1.0-9"],
  [
    ["vmlinuz-6.9.1", "initramfs-6.9.1.img", "vmlinuz-6.10.0", "initramfs-6.10.0.img"],
    "vmlinuz-6.10.0",
  ],
  [["vmlinuz-lts", "initramfs-lts"], "initramfs-lts"],
  [["vmlinuz", "initrd.img"], "initrd.img"],
])("of %j the newest kernel with its initramfs", (names, part) => {
  const { kernel, initrd } = chooseKernel(names);
  expect(`${kernel} ${initrd}`).toContain(part);
});

test("a kernel without initramfs is passed over where another has one", () => {
  const names = ["vmlinuz-7.0", "vmlinuz-6.0", "initrd-6.0"];
  expect(chooseKernel(names)).toEqual({ kernel: "vmlinuz-6.0", initrd: "initrd-6.0" });
});

test.each([
  [[], "no kernel in /boot"],
  [["config-6.1", "vmlinux-6.1"], "no kernel in /boot"],
  [["vmlinuz-\u001b]0;x", "initrd.img-\u001b]0;x"], "no kernel in /boot"],
  [["vmlinuz-6.1", "initrd.img-6.2"], 'kernel "vmlinuz-6.1" of the image has no initramfs'],
])("of %j none, and what to do", (names, why) => {
  expect(() => chooseKernel(names)).toThrow(new RegExp(`${why}.*--kernel and --initrd`));
});

test("an image without init is refused, unless the kernel is told another", () => {
  expect(() => {
    requireInit(["usr/share/init"], "quiet");
  }).toThrow("no init program");
  requireInit(["usr/share/init"], "quiet init=/bin/sh");
  requireInit(["usr/sbin/init"], "");
});

test.each(["console=ttyS0,115200n8 quiet", "", "rd.luks=0 ip=10.0.0.1::10.0.0.2"])(
  "words for a kernel: %j",
  (text) => {
    expect(parseCommandLine(text)).toBe(text);
  },
);

test.each(["quiet; reboot", "a\nb", 'x="y"', "$root", "{", "#", "é", "x".repeat(1025)])(
  "no words for a kernel: %j",
  (text) => {
    expect(() => parseCommandLine(text)).toThrow(/command line/);
  },
);

test("GRUB's code is told where its core lies", () => {
  const boot = Buffer.alloc(512);
  boot.writeUInt16LE(0xaa55, 510);
  const code = mbrCode(boot, 34);
  expect(code.length).toBe(440);
  expect(code.readBigUInt64LE(0x5c)).toBe(34n);
  expect(coreAt(Buffer.alloc(1024), 34, 4).readBigUInt64LE(0x1f4)).toBe(35n);
  expect(() => mbrCode(Buffer.alloc(512), 34)).toThrow("no boot sector");
  expect(() => coreAt(Buffer.alloc(4096), 34, 4)).toThrow("4096 bytes");
});

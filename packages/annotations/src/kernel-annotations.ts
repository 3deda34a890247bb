import type { AnnotationSpec } from "./value-types.ts";

/* eslint-disable no-control-regex -- those are what is refused */
const PATH = /^(\/(?!\.\.?(\/|$))[^/\0-\x1f\x7f]{1,255}){1,16}$/;
/** Blanks are the kernel's to read; COMMAND_LINE_SIZE of x86 has a closing NUL. */
const ARGUMENTS = /^[^\0-\x08\x0b\x0c\x0e-\x1f\x7f]{1,2047}$/;
/* eslint-enable no-control-regex */

const FILE = "an absolute path in the container, of a file of its image or of a volume";

/** A kernel that is started without a boot loader. */
export const KERNEL_ANNOTATIONS = [
  {
    key: "trine.dev/kernel",
    setting: "kernelPath",
    level: "vm",
    type: "word",
    pattern: PATH,
    allowed: FILE,
    description:
      "The kernel that the firmware starts, at each boot of the guest, in place of what a disk would boot. Such a machine needs no disk.",
    reason: "Kernels and file systems that are made apart, and guests that are an initrd only.",
    example: "/boot/vmlinuz",
    virtlet: [],
  },
  {
    key: "trine.dev/initrd",
    setting: "initrdPath",
    level: "vm",
    type: "word",
    pattern: PATH,
    allowed: FILE,
    description: "The first file system of that kernel.",
    reason: "Most kernels have their drivers in one.",
    example: "/boot/initrd.img",
    virtlet: [],
  },
  {
    key: "trine.dev/kernel-args",
    setting: "kernelArgs",
    level: "vm",
    type: "word",
    pattern: ARGUMENTS,
    allowed: "at most 2047 characters",
    description: "The command line of that kernel.",
    reason: "Without one it has no root and no console.",
    example: "console=ttyS0 root=/dev/vda1",
    virtlet: [],
  },
] as const satisfies readonly AnnotationSpec[];

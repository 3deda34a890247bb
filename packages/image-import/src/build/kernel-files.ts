import { TrineError, quote } from "@trine/base";

export interface KernelFiles {
  /** Names in /boot. */
  readonly kernel: string;
  readonly initrd: string;
}

/** The names are the image's: a release is what builds of kernels make of it, and nothing else. */
const KERNEL = /^(?:vmlinuz|bzImage|kernel)(?:-([\w.+~-]+))?$/;
const INITS = ["init", "sbin/init", "bin/init", "etc/init", "usr/sbin/init", "usr/bin/init"];
const MAX_COMMAND_LINE = 1024;

/**
 * The newest kernel of a tree and its initramfs, of the names in /boot. Kind `invalid` when there is none, or
 * none with an initramfs.
 */
export function chooseKernel(names: readonly string[]): KernelFiles {
  const kernels = names
    .flatMap((name) => {
      const found = KERNEL.exec(name);
      return found === null ? [] : [{ kernel: name, release: found[1] ?? "" }];
    })
    .sort((a, b) => b.release.localeCompare(a.release, "en", { numeric: true }));
  if (kernels.length === 0) {
    const advice = "install one in the image, or give --kernel and --initrd";
    throw new TrineError("invalid", `the image has no kernel in /boot: ${advice}`);
  }
  for (const { kernel, release } of kernels) {
    const initrd = initrdNames(release).find((name) => names.includes(name));
    if (initrd !== undefined) return { kernel, initrd };
  }
  const [newest] = kernels;
  const what = `kernel ${quote(newest?.kernel ?? "")} of the image has no initramfs beside it`;
  throw new TrineError("invalid", `${what}: make one, or give --kernel and --initrd`);
}

/** As Debian, Fedora, Arch and Alpine call them. */
function initrdNames(release: string): string[] {
  const end = release === "" ? "" : `-${release}`;
  return [`initrd.img${end}`, `initramfs${end}.img`, `initramfs${end}`, `initrd${end}`];
}

/** Refuses a tree that would end in a kernel's panic; `paths` are those that there are, from its root. */
export function requireInit(paths: readonly string[], commandLine: string): void {
  if (INITS.some((path) => paths.includes(path)) || /(?:^| )init=/.test(commandLine)) return;
  const advice =
    "a machine's image has one (systemd-sysv, busybox), or name it in --cmdline init=…";
  throw new TrineError("invalid", `the image has no init program: ${advice}`);
}

/** Words for a kernel; kind `invalid` for what a boot loader would take for its own. */
export function parseCommandLine(text: string): string {
  if (
    text.length <= MAX_COMMAND_LINE &&
    /^[\w.,:=/@%+~^!?*[\]-]*(?: +[\w.,:=/@%+~^!?*[\]-]+)*$/.test(text)
  ) {
    return text.trim();
  }
  const allowed = "words of letters, digits and . , : = / @ % + ~ ^ ! ? * [ ] - _";
  throw new TrineError("invalid", `a kernel's command line is ${allowed}`);
}

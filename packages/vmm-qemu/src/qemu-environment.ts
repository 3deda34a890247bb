import { access, realpath, stat } from "node:fs/promises";
import type { JailBind } from "@trine/vmm";

/** What the node gives every machine. */
export interface QemuEnvironment {
  readonly qemuPath: string;
  /** Read-only UEFI image; undefined = this node has none. */
  readonly firmwareCode?: string;
  /** Files QEMU needs to run, for the machine's jail. */
  readonly binds: readonly JailBind[];
  /** Group that may open /dev/kvm. */
  readonly kvmGroup?: number;
}

/**
 * Found by running QEMU 7.2 in an empty root: its libraries and modules, the option ROMs and BIOS, and
 * /dev/null, which it opens to learn whether the kernel has open-file-description locks. It needs no
 * /proc, /etc or /dev/urandom. What a distribution does not have is left out.
 */
const DIRECTORIES = [
  ...["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"],
  ...["/usr/share/qemu", "/usr/share/seabios"],
];

/** Looks at the node's files. `qemuPath` itself is not opened: starting a machine says what is wrong. */
export async function findQemuEnvironment(options: {
  readonly qemuPath: string;
  readonly uefi?: { readonly code: string } | undefined;
}): Promise<QemuEnvironment> {
  const { qemuPath, uefi } = options;
  const kvm = await stat("/dev/kvm").catch(() => undefined);
  const directories = await Promise.all(DIRECTORIES.map((path) => bindOf(path)));
  return {
    qemuPath,
    ...(uefi !== undefined && (await exists(uefi.code)) ? { firmwareCode: uefi.code } : {}),
    binds: [
      { source: qemuPath, target: qemuPath },
      ...directories.filter((bind) => bind !== undefined),
      { source: "/dev/null", target: "/dev/null", writable: true, device: true },
    ],
    ...(kvm === undefined || kvm.gid === 0 ? {} : { kvmGroup: kvm.gid }),
  };
}

async function bindOf(path: string): Promise<JailBind | undefined> {
  try {
    // A merged /usr has links here; the jail has directories of their own.
    return { source: await realpath(path), target: path };
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

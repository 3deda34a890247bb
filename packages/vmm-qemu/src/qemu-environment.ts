import { access, realpath, stat } from "node:fs/promises";
import type { JailBind } from "@trine/vmm";

/** What the node gives every machine. */
export interface QemuEnvironment {
  readonly qemuPath: string;
  /** Read-only UEFI image; undefined = this node has none. */
  readonly firmwareCode?: string;
  /** The one that knows secure boot. */
  readonly secureFirmwareCode?: string;
  /** The program that is a TPM; undefined = this node has none. */
  readonly swtpmPath?: string;
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

/** Where the node has what machines run on. */
export interface QemuFiles {
  readonly qemuPath: string;
  /** Read-only UEFI images; what is absent = machines that ask for it are refused. */
  readonly uefi?: { readonly code?: string; readonly secureCode?: string } | undefined;
  readonly swtpmPath?: string | undefined;
}

/** Looks at the node's files. `qemuPath` itself is not opened: starting a machine says what is wrong. */
export async function findQemuEnvironment(options: QemuFiles): Promise<QemuEnvironment> {
  const { qemuPath, uefi, swtpmPath } = options;
  const kvm = await stat("/dev/kvm").catch(() => undefined);
  const directories = await Promise.all(DIRECTORIES.map((path) => bindOf(path)));
  return {
    qemuPath,
    ...(await present("firmwareCode", uefi?.code)),
    ...(await present("secureFirmwareCode", uefi?.secureCode)),
    ...(await present("swtpmPath", swtpmPath)),
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

async function present<K extends string>(
  key: K,
  path: string | undefined,
): Promise<{ readonly [key in K]?: string }> {
  if (path === undefined || !(await exists(path))) return {};
  return { [key]: path } as { [key in K]: string };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

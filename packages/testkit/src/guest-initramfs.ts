import { chmod, cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { DebianKernel } from "./debian-packages.ts";
import { runCommand } from "./run-command.ts";

const INIT = join(import.meta.dirname, "../guest/initramfs/init");

/** Files whose change makes a guest's disk another one. */
export const BOOT_SOURCES = [INIT, import.meta.filename, join(import.meta.dirname, "boot-disk.ts")];

/**
 * What it takes to reach the root disk on any bus of QEMU's that the kernel knows. The generic one has the file system as
 * a module too, which finds its checksum by name, not by a symbol.
 */
const BOOT_MODULES: Readonly<Record<DebianKernel, readonly string[]>> = {
  cloud: ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod"],
  generic: ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "crc32c_generic", "ext4"],
};

export interface Initramfs {
  /** Tree of the unpacked kernel package, with its modules.dep made. */
  kernel: string;
  release: string;
  kind: DebianKernel;
  /** Static busybox for this machine and the guest. */
  busybox: string;
  target: string;
}

/** Writes an initramfs that mounts the second partition of the first disk that has a root on it. */
export async function writeInitramfs(of: Initramfs): Promise<void> {
  const tree = `${of.target}.tree`;
  for (const dir of ["bin", "dev", "proc", "root", "modules"]) {
    await mkdir(join(tree, dir), { recursive: true });
  }
  await cp(INIT, join(tree, "init"));
  await chmod(join(tree, "init"), 0o755);
  await cp(of.busybox, join(tree, "bin/busybox"));
  const modules = await moduleFiles(of.kernel, of.release, BOOT_MODULES[of.kind]);
  for (const file of modules) {
    await cp(
      join(of.kernel, "lib/modules", of.release, file),
      join(tree, "modules", basename(file)),
    );
  }
  await writeFile(join(tree, "modules.order"), modules.map((file) => basename(file)).join("\n"));
  const list = (await readdir(tree, { recursive: true })).sort().join("\n");
  // Not compressed: unpacking costs an emulated CPU more than reading.
  await runCommand("sh", ["-c", '"$0" cpio -o -H newc >"$1"', of.busybox, of.target], {
    cwd: tree,
    input: `${list}\n`,
  });
  await rm(tree, { recursive: true });
}

/** Module files (relative to the release's directory) with their dependencies first. */
export async function moduleFiles(
  kernel: string,
  release: string,
  names: readonly string[],
): Promise<string[]> {
  const text = await readFile(join(kernel, "lib/modules", release, "modules.dep"), "utf8");
  const files = new Set<string>();
  for (const name of names) {
    const line = text.split("\n").find((entry) => entry.split(":")[0]?.endsWith(`/${name}.ko`));
    if (line === undefined) throw new Error(`the kernel ${release} has no module ${name}`);
    // modules.dep lists what has to come first last.
    for (const file of line.replace(":", "").split(" ").filter(Boolean).reverse()) files.add(file);
  }
  return [...files];
}

import { chmod, cp, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cachedDir } from "./cache.ts";
import { kernelPackage, resolvePackages, unpackPackages } from "./debian-packages.ts";
import { writeOciArchive } from "./oci-archive.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";
import type { TestImage } from "./test-image.ts";

const INIT = join(import.meta.dirname, "../guest/kernel/init");

/**
 * A kernel and an initrd that is a whole guest, /boot/vmlinuz and /boot/initrd, without any disk. It says `KERNEL-GUEST` and
 * its command line, and powers off when a line comes from its console. `initrd`: that file by itself.
 */
export async function kernelImage(): Promise<TestImage & { readonly initrd: string }> {
  const name = "trine.test/kernel:1";
  const kernel = await resolvePackages([await kernelPackage("cloud")]);
  const programs = await resolvePackages(["busybox-static"]);
  const recipe = [
    JSON.stringify([kernel, programs]),
    await hashOfFiles([INIT, import.meta.filename]),
  ];
  const dir = await cachedDir("image-kernel", recipe, async (making) => {
    const work = join(making, "work");
    const root = join(work, "root");
    const tree = join(work, "tree");
    const busybox = join(work, "programs/bin/busybox");
    await unpackPackages(kernel, join(work, "kernel"));
    await unpackPackages(programs, join(work, "programs"));
    await mkdir(join(root, "boot"), { recursive: true });
    for (const at of ["bin", "dev", "proc"]) await mkdir(join(tree, at), { recursive: true });
    await cp(busybox, join(tree, "bin/busybox"));
    await cp(INIT, join(tree, "init"));
    await chmod(join(tree, "init"), 0o755);
    await runCommand(
      "sh",
      ["-c", '"$0" cpio -o -H newc >"$1"', busybox, join(root, "boot/initrd")],
      {
        cwd: tree,
        input: `${(await readdir(tree, { recursive: true })).sort().join("\n")}\n`,
      },
    );
    const found = (await readdir(join(work, "kernel/boot"))).find((file) =>
      file.startsWith("vmlinuz"),
    );
    await cp(join(work, "kernel/boot", found ?? "vmlinuz"), join(root, "boot/vmlinuz"));
    await writeOciArchive({ name, root }, join(making, "image.tar"));
    await cp(join(root, "boot/initrd"), join(making, "initrd"));
    await rm(work, { recursive: true });
  });
  return { name, archive: join(dir, "image.tar"), initrd: join(dir, "initrd") };
}

import { cp, mkdir, readdir, realpath, rm, symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { bootLoaderPackages, writeBootDisk } from "./boot-disk.ts";
import { cachedDir, exists } from "./cache.ts";
import { BOOT_SOURCES, moduleFiles, writeInitramfs } from "./guest-initramfs.ts";
import { kernelPackage, resolvePackages, unpackPackages } from "./debian-packages.ts";
import type { DebianKernel } from "./debian-packages.ts";
import type { TestImage } from "./test-image.ts";
import { writeOciArchive } from "./oci-archive.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";

const SOURCE = join(import.meta.dirname, "../guest/tiny");

/** What only the generic kernel has. */
const GENERIC_MODULES = ["9p", "9pnet_fd", "9pnet_virtio", "virtio_mem"];
const ROOT_MODULES = [
  ...["virtio_net", "virtio_console", "virtio-rng", "virtio_balloon", "virtio_scsi", "sd_mod"],
  ...["ata_piix", "sr_mod", "isofs", "button", "evdev", "pvpanic-pci", "fuse", "virtiofs"],
  "qemu_fw_cfg",
];
const APPEND =
  "console=ttyS0 quiet loglevel=1 mitigations=off nokaslr cryptomgr.notests random.trust_cpu=on " +
  "nowatchdog raid=noautodetect audit=0 no_timer_check panic=1";

/** Programs beside busybox: qemu-ga and its libraries. */
const GUEST_PACKAGES = [
  ...["busybox-static", "qemu-guest-agent", "libc6", "libglib2.0-0", "libpcre2-8-0", "libudev1"],
  ...["libnuma1", "liburing2"],
];
const AGENT_LIBRARIES = [
  ...["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libglib-2.0.so.0", "libgmodule-2.0.so.0"],
  ...["libpcre2-8.so.0", "libudev.so.1", "libnuma.so.1", "liburing.so.2"],
];

/**
 * A small machine that boots in seconds under software emulation; what it does is in guest/tiny.
 * On its console: `TINY-GUEST SEED …` when it found a seed, `TINY-GUEST READY ip=… name=…`,
 * `TINY-GUEST POWER BUTTON`, `TINY-GUEST DOWN`, and a shell with the prompt `tiny# `
 * (commands `flood N [device]`, `panic`). HTTP on :8080 answers its name, on 127.0.0.1:8081
 * "NAME loopback only".
 * Answers the file name of the QCOW2.
 */
export async function tinyGuestDisk(kernel: DebianKernel = "cloud"): Promise<string> {
  const dir = await cachedTiny({ kind: "tiny-guest", kernel }, async (parts, making) => {
    const raw = join(making, "disk.raw");
    await writeBootDisk({
      path: raw,
      ...parts,
      append: APPEND,
      root: { dir: parts.root, sizeMiB: 48, label: "tiny-root" },
    });
    await runCommand("qemu-img", [
      ...["convert", "-f", "raw", "-O", "qcow2"],
      ...[raw, join(making, "tiny.qcow2")],
    ]);
    await rm(raw);
  });
  return join(dir, "tiny.qcow2");
}

/** The same machine as an image of containers: its files, with kernel and initramfs in /boot. */
export async function tinyGuestTreeImage(): Promise<TestImage> {
  const name = "trine.test/tiny-tree:1";
  const dir = await cachedTiny(
    { kind: "tiny-tree", kernel: "cloud" },
    async ({ root, kernel, initrd }, making) => {
      await mkdir(join(root, "boot"));
      await cp(kernel, join(root, "boot", basename(kernel)));
      await cp(initrd, join(root, "boot", basename(kernel).replace("vmlinuz", "initrd.img")));
      await writeOciArchive({ name, root }, join(making, "image.tar"));
    },
  );
  return { name, archive: join(dir, "image.tar") };
}

interface Parts {
  readonly kernel: string;
  readonly initrd: string;
  readonly root: string;
  /** Where the boot loaders' packages are unpacked. */
  readonly tools: string;
}

async function cachedTiny(
  of: { readonly kind: string; readonly kernel: DebianKernel },
  make: (parts: Parts, making: string) => Promise<void>,
): Promise<string> {
  const kernel = await resolvePackages([await kernelPackage(of.kernel)]);
  const modules = [...ROOT_MODULES, ...(of.kernel === "generic" ? GENERIC_MODULES : [])];
  const loader = await bootLoaderPackages();
  const programs = await resolvePackages(GUEST_PACKAGES);
  const recipe = [
    JSON.stringify([kernel, loader, programs, APPEND, modules]),
    await hashOfFiles([SOURCE, import.meta.filename, ...BOOT_SOURCES]),
  ];
  return cachedDir(of.kind, recipe, async (making) => {
    const work = join(making, "work");
    await unpackPackages([...kernel, ...loader], join(work, "boot"));
    await unpackPackages(programs, join(work, "programs"));
    await make(await buildParts(work, of.kernel, modules), making);
    await rm(work, { recursive: true });
  });
}

async function buildParts(
  work: string,
  kind: DebianKernel,
  modules: readonly string[],
): Promise<Parts> {
  const boot = join(work, "boot");
  const [release = ""] = await readdir(join(boot, "lib/modules"));
  const busybox = join(work, "programs/bin/busybox");
  await runCommand(busybox, ["depmod", "-b", boot, release]);
  const initrd = join(work, "initrd");
  await writeInitramfs({ kernel: boot, release, kind, busybox, target: initrd });
  await buildRoot(work, release, modules);
  const kernel = join(boot, "boot", `vmlinuz-${release}`);
  return { kernel, initrd, root: join(work, "root"), tools: boot };
}

async function buildRoot(work: string, release: string, modules: readonly string[]): Promise<void> {
  const root = join(work, "root");
  const programs = join(work, "programs");
  await cp(join(SOURCE, "root"), root, { recursive: true });
  await runCommand(
    "sh",
    ["-c", "chmod -R a+rX . && chmod a+x bin/* sbin/* etc/rc* etc/*.script etc/acpi/*/*"],
    {
      cwd: root,
    },
  );
  const empty = ["dev", "proc", "sys", "run", "tmp", "root", "www", "www-local", "var"];
  for (const dir of [...empty, "usr/lib", "usr/bin"])
    await mkdir(join(root, dir), { recursive: true });
  await symlink("/run", join(root, "var/run"));
  await cp(join(programs, "bin/busybox"), join(root, "bin/busybox"));
  const applets = await runCommand(join(programs, "bin/busybox"), ["--list"]);
  for (const applet of applets.trim().split("\n")) {
    await symlink("/bin/busybox", join(root, "bin", applet)).catch(ignoreExisting);
  }
  for (const name of ["init", "poweroff", "reboot", "halt", "modprobe", "ip"]) {
    await symlink("/bin/busybox", join(root, "sbin", name));
  }
  await copyAgent(programs, root);
  const from = join(work, "boot/lib/modules", release);
  const to = join(root, "lib/modules", release);
  for (const file of await moduleFiles(join(work, "boot"), release, modules)) {
    await cp(join(from, file), join(to, file), { recursive: true });
  }
  await runCommand(join(programs, "bin/busybox"), ["depmod", "-b", root, release]);
}

function ignoreExisting(cause: NodeJS.ErrnoException): void {
  if (cause.code !== "EEXIST") throw cause;
}

/** qemu-ga with the loader and its libraries, where the loader looks for them. */
async function copyAgent(programs: string, root: string): Promise<void> {
  await cp(join(programs, "usr/sbin/qemu-ga"), join(root, "bin/qemu-ga"));
  const homes = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
  for (const library of AGENT_LIBRARIES) {
    const sources = homes.map((home) => join(programs, home, library));
    const found = await Promise.all(sources.map((source) => exists(source)));
    const source = sources[found.indexOf(true)];
    if (source === undefined) throw new Error(`no package of the tiny guest holds ${library}`);
    await cp(await realpath(source), join(root, "lib/x86_64-linux-gnu", library));
  }
  await mkdir(join(root, "lib64"));
  await symlink(
    "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    join(root, "lib64/ld-linux-x86-64.so.2"),
  );
}

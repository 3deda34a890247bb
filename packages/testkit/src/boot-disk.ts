import { cp, mkdir, open, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DebianPackage, resolvePackages } from "./debian-packages.ts";
import { runCommand } from "./run-command.ts";

const SECTOR = 512;
const MIB = 1024 * 1024;
/** Partition 1 begins here; everything is aligned to it. */
const ALIGN = MIB;

export interface BootDisk {
  /** File name of the raw disk to make. */
  path: string;
  kernel: string;
  initrd: string;
  /** Kernel command line. */
  append: string;
  /** Root file system: a directory to copy, its size with free space, and a label. */
  root: { dir: string; sizeMiB: number; label: string };
  /** Where the packages of bootLoaderPackages() were unpacked. */
  tools: string;
}

/** Boot loaders for both firmwares and the tools that write FAT without mounting it. */
export function bootLoaderPackages(): Promise<DebianPackage[]> {
  return resolvePackages(["syslinux", "syslinux-common", "mtools", "systemd-boot-efi"]);
}

/**
 * Writes a disk that boots under SeaBIOS (syslinux) and under UEFI (systemd-boot), with no loop device
 * and no mount: an MBR, a FAT partition that is active and of type EFI system, and an ext4 root.
 */
export async function writeBootDisk(disk: BootDisk): Promise<void> {
  const bootBytes = (await stat(disk.kernel)).size + (await stat(disk.initrd)).size;
  const bootMiB = Math.max(34, Math.ceil(bootBytes / MIB) + 4);
  await rm(disk.path, { force: true });
  await writeFile(disk.path, "");
  await truncate(disk.path, ALIGN + (bootMiB + disk.root.sizeMiB) * MIB);
  await writeMbr(disk, bootMiB);
  await writeBootPartition(disk, bootMiB);
  await runCommand("mke2fs", [
    ...["-q", "-F", "-t", "ext4", "-O", "^has_journal,^metadata_csum,^64bit", "-m", "0"],
    ...["-L", disk.root.label, "-d", disk.root.dir],
    ...["-E", `offset=${ALIGN + bootMiB * MIB},nodiscard`, disk.path, `${disk.root.sizeMiB}M`],
  ]);
}

async function writeMbr(disk: BootDisk, bootMiB: number): Promise<void> {
  const entries = [
    partition({ active: true, type: 0xef, startMiB: 1, sizeMiB: bootMiB }),
    partition({ active: false, type: 0x83, startMiB: 1 + bootMiB, sizeMiB: disk.root.sizeMiB }),
  ];
  await using code = await open(join(disk.tools, "usr/lib/syslinux/mbr/mbr.bin"));
  const sector = Buffer.alloc(SECTOR);
  await code.read(sector, 0, 440, 0);
  Buffer.concat(entries).copy(sector, 446);
  sector.writeUInt16LE(0xaa55, 510);
  await using target = await open(disk.path, "r+");
  await target.write(sector, 0, SECTOR, 0);
}

/** One entry of an MBR partition table; the CHS fields are filled as "see the LBA fields". */
function partition(of: {
  active: boolean;
  type: number;
  startMiB: number;
  sizeMiB: number;
}): Buffer {
  const entry = Buffer.from([of.active ? 0x80 : 0, 0xfe, 0xff, 0xff, of.type, 0xfe, 0xff, 0xff]);
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32LE((of.startMiB * MIB) / SECTOR, 0);
  numbers.writeUInt32LE((of.sizeMiB * MIB) / SECTOR, 4);
  return Buffer.concat([entry, numbers]);
}

async function writeBootPartition(disk: BootDisk, bootMiB: number): Promise<void> {
  const tree = `${disk.path}.boot`;
  const env = {
    PATH: `${join(disk.tools, "usr/bin")}:${process.env["PATH"] ?? ""}`,
    MTOOLS_SKIP_CHECK: "1",
  };
  const drive = ["-i", `${disk.path}@@${ALIGN}`];
  await mkdir(join(tree, "EFI/BOOT"), { recursive: true });
  await mkdir(join(tree, "loader/entries"), { recursive: true });
  await cp(disk.kernel, join(tree, "vmlinuz"));
  await cp(disk.initrd, join(tree, "initrd"));
  await cp(
    join(disk.tools, "usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
    join(tree, "EFI/BOOT/BOOTX64.EFI"),
  );
  await writeFile(
    join(tree, "syslinux.cfg"),
    `DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND ${disk.append}\n`,
  );
  await writeFile(join(tree, "loader/loader.conf"), "timeout 0\ndefault linux.conf\n");
  await writeFile(
    join(tree, "loader/entries/linux.conf"),
    `title linux\nlinux /vmlinuz\ninitrd /initrd\noptions ${disk.append}\n`,
  );
  const sectors = (bootMiB * MIB) / SECTOR;
  await runCommand(
    "mformat",
    [
      ...drive,
      "-T",
      String(sectors),
      "-h",
      "64",
      "-s",
      "32",
      "-H",
      String(ALIGN / SECTOR),
      "-v",
      "BOOT",
      "::",
    ],
    { env },
  );
  for (const entry of ["vmlinuz", "initrd", "EFI", "loader", "syslinux.cfg"]) {
    await runCommand("mcopy", [...drive, "-s", "-o", join(tree, entry), "::/"], { env });
  }
  await runCommand("syslinux", ["--install", "--offset", String(ALIGN), disk.path], { env });
  await rm(tree, { recursive: true });
}

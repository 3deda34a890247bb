import { randomBytes, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { JAIL_UID } from "../jail/run-jailed.ts";
import type { WorkDir } from "../work-dir.ts";
import { coreAt, mbrCode } from "./boot-code.ts";
import { FIRST_SECTOR, LAST_SECTORS, SECTOR, partitionTables } from "./gpt.ts";
import { runOnDisk, writeParts } from "./run-on-disk.ts";
import type { OwnFile, Place } from "./run-on-disk.ts";

export const SECTORS_PER_MIB = (1024 * 1024) / SECTOR;
/** Both partitions begin at whole MiB; the BIOS's has what is before the first. */
export const BOOT_AT = (1024 * 1024) / SECTOR;
const BOOT_IMAGE = "/usr/lib/grub/i386-pc/boot.img";
const TYPES = {
  efi: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
  root: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
  bios: "21686148-6449-6E6F-744E-656564454649",
};
const GRUB_MODULES = [
  ...["part_gpt", "fat", "normal", "search_fs_uuid", "configfile", "linux", "serial", "terminal"],
];
const LOADERS = [
  { format: "i386-pc", modules: ["biosdisk"] },
  { format: "x86_64-efi", modules: ["efi_gop"] },
] as const;

export interface Boot {
  readonly kernel: OwnFile;
  readonly initrd: OwnFile;
  readonly bootSectors: number;
  readonly commandLine: string;
}

/** Partition tables, the FAT partition with all that a boot loader reads, and the boot loaders. */
export async function writeBoot(place: Place, boot: Boot): Promise<void> {
  const { disk, sizeBytes, work } = place;
  const sectors = sizeBytes / SECTOR;
  const rootAt = BOOT_AT + boot.bootSectors;
  const rootSectors = Math.floor((sectors - LAST_SECTORS - rootAt) / SECTORS_PER_MIB);
  if (rootSectors < 1) throw new TrineError("invalid", "the disk has no room for a root: --size");
  const { head, tail } = partitionTables(randomUUID(), sectors, [
    partition("boot", TYPES.efi, BOOT_AT, boot.bootSectors),
    partition("root", TYPES.root, rootAt, rootSectors * SECTORS_PER_MIB),
    partition("bios", TYPES.bios, FIRST_SECTOR, BOOT_AT - FIRST_SECTOR),
  ]);
  await writeParts(disk.handle, [
    [head, 0],
    [tail, sizeBytes - tail.length],
  ]);
  const volume = randomBytes(4).toString("hex").toUpperCase();
  await formatBoot(place, boot, volume);
  const config = await fileOf(
    work,
    "grub.cfg",
    [
      "set timeout=0",
      "serial --unit=0 --speed=115200",
      "terminal_output console serial",
      `linux /vmlinuz ${boot.commandLine}`,
      "initrd /initrd",
      "boot",
      "",
    ].join("\n"),
  );
  const early = await fileOf(
    work,
    "early.cfg",
    `search.fs_uuid ${volume.slice(0, 4)}-${volume.slice(4)} root\nconfigfile ($root)/grub.cfg\n`,
  );
  try {
    await copyIn(place, boot.kernel, "vmlinuz");
    await copyIn(place, boot.initrd, "initrd");
    await copyIn(place, config, "grub.cfg");
    await writeLoaders(place, early);
  } finally {
    await Promise.all([config.handle.close(), early.handle.close()]);
  }
}

function partition(
  name: string,
  type: string,
  startSector: number,
  sectors: number,
): Parameters<typeof partitionTables>[2][number] {
  return { name, type, id: randomUUID(), startSector, sectors };
}

async function fileOf(work: WorkDir, name: string, content: string): Promise<OwnFile> {
  const file = await work.create(name);
  await file.handle.writeFile(content);
  return file;
}

/** `@@` is mtools' way to say where in a file a file system begins. */
const FAT = `/work/disk@@${BOOT_AT * SECTOR}`;

async function formatBoot(place: Place, { bootSectors }: Boot, volume: string): Promise<void> {
  const { disk } = place;
  const size = ["-T", String(bootSectors), "-h", "64", "-s", "32", "-H", String(BOOT_AT)];
  await runOnDisk(place, "mformat", ["-i", FAT, ...size, "-N", volume, "-v", "BOOT", "::"], [disk]);
  await runOnDisk(place, "mmd", ["-i", FAT, "::/EFI", "::/EFI/BOOT"], [disk]);
}

async function copyIn(place: Place, file: OwnFile, name: string): Promise<void> {
  await file.handle.chmod(0o644);
  await runOnDisk(
    place,
    "mcopy",
    ["-i", FAT, "/work/in", name === "loader" ? "::/EFI/BOOT/BOOTX64.EFI" : `::/${name}`],
    [place.disk, file],
  );
}

/** GRUB's core for each firmware: the BIOS finds its own by the MBR, UEFI by name. */
async function writeLoaders(place: Place, early: OwnFile): Promise<void> {
  await early.handle.chmod(0o644);
  for (const { format, modules } of LOADERS) {
    const core = await place.work.create(`core.${format}`);
    try {
      await core.handle.chown(JAIL_UID, JAIL_UID);
      const out = ["-O", format, "-o", "/work/disk", "-c", "/work/in", "-p", "/grub"];
      const program = "grub-mkimage";
      await runOnDisk(place, program, [...out, ...GRUB_MODULES, ...modules], [core, early]);
      if (format === "i386-pc") await installBios(place.disk.handle, await core.handle.readFile());
      else await copyIn(place, core, "loader");
    } finally {
      await core.handle.close();
    }
  }
}

async function installBios(disk: FileHandle, core: Buffer): Promise<void> {
  const boot = await readFile(BOOT_IMAGE).catch((cause: unknown) => {
    throw new TrineError("unavailable", "GRUB for BIOS is not there: install grub-pc-bin", {
      cause,
    });
  });
  await writeParts(disk, [
    [mbrCode(boot, FIRST_SECTOR), 0],
    [coreAt(core, FIRST_SECTOR, BOOT_AT - FIRST_SECTOR), FIRST_SECTOR * SECTOR],
  ]);
}

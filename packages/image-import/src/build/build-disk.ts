import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, Undo, kindOf, messageOf, quote } from "@trine/base";
import type { ImageStore } from "@trine/containerd-client";
import type { ImageView } from "../store/list-images.ts";
import { dropLease, takeLease } from "../store/store-image.ts";
import { JAIL_UID } from "../jail/run-jailed.ts";
import { WorkDir } from "../work-dir.ts";
import { LAST_SECTORS, SECTOR } from "./gpt.ts";
import { chooseKernel, requireInit } from "./kernel-files.ts";
import { copyOfTree, listTree, openTree } from "./read-tree.ts";
import { runOnDisk } from "./run-on-disk.ts";
import type { Place } from "./run-on-disk.ts";
import { BOOT_AT, SECTORS_PER_MIB, writeBoot } from "./write-boot.ts";

const MIB = 1024 * 1024;
/** Besides kernel and initramfs: GRUB for UEFI, FAT's own tables. */
const BOOT_ROOM = 24 * MIB;
const MAX_FILE_BYTES = 1024 * MIB;
/** "HdrS" of a kernel that a boot loader can start (Linux, x86 boot protocol). */
const KERNEL_MAGIC_AT = 0x202;

export interface DiskBuild {
  readonly image: ImageView;
  readonly snapshotter: string;
  /** Of the whole disk. */
  readonly sizeBytes: number;
  /** Words behind root= and rw. */
  readonly commandLine: string;
  /** Files of this host instead of those in the image's /boot. */
  readonly kernel?: string;
  readonly initrd?: string;
  /** Path of trine-rootfs. */
  readonly filter: string;
  readonly workDir: string;
}

export type BuildStep = "reading" | "writing boot files" | "writing root";

export interface BuiltDisk {
  /** A raw file, sparse. */
  readonly path: string;
  /** Removes what is left of the build; repeatable. */
  release(): Promise<void>;
}

/**
 * Makes a bootable disk of an image's files: GPT, GRUB for BIOS and UEFI, a FAT partition with kernel and
 * initramfs, an ext4 root. Nothing is mounted but in a jail, and nothing of the image is run; the tools run as
 * nobody, those that read the image behind a filter of system calls. Kind `invalid` for an image without kernel or init, or one that does not fit.
 */
export async function buildDisk(
  store: ImageStore,
  build: DiskBuild,
  onStep: (step: BuildStep) => void,
  signal: AbortSignal,
): Promise<BuiltDisk> {
  requireSize(build.sizeBytes);
  const work = await WorkDir.open(build.workDir, `build:${build.image.name}`);
  const undo = new Undo();
  undo.defer("work", () => work.remove());
  try {
    await takeLease(store, work.key);
    undo.defer("lease", () => dropLease(store, work.key));
    const disk = await work.create("disk.raw");
    undo.defer("disk", () => disk.handle.close());
    await disk.handle.truncate(build.sizeBytes);
    const leased = store.under(work.key);
    const tree = await openTree(leased, { ...build, key: work.key, workDir: work.path }, signal);
    const { sizeBytes } = build;
    await writeDisk({ disk, tree, work, sizeBytes, signal }, build, onStep);
    await store.snapshots.remove({ snapshotter: build.snapshotter, key: work.key });
    await dropLease(store, work.key);
    const release = async (): Promise<void> => {
      await undo.run();
    };
    return { path: disk.path, release };
  } catch (cause) {
    await undo.run();
    throw cause;
  }
}

function requireSize(sizeBytes: number): void {
  if (sizeBytes >= 256 * MIB && sizeBytes % MIB === 0) return;
  throw new TrineError("invalid", "a disk has 256Mi or more, and whole MiB");
}

async function writeDisk(
  place: Place,
  build: DiskBuild,
  onStep: (step: BuildStep) => void,
): Promise<void> {
  onStep("reading");
  const kernel = await place.work.create("kernel");
  const initrd = await place.work.create("initrd");
  try {
    await readKernel(place, build, kernel.handle, initrd.handle);
    onStep("writing boot files");
    const files = [(await kernel.handle.stat()).size, (await initrd.handle.stat()).size];
    const bytes = files.reduce((sum, each) => sum + each, BOOT_ROOM);
    const bootSectors = Math.ceil(bytes / MIB) * SECTORS_PER_MIB;
    const rootUuid = randomUUID();
    await place.disk.handle.chown(JAIL_UID, JAIL_UID);
    await writeBoot(place, {
      ...{ kernel, initrd, bootSectors },
      commandLine: `root=UUID=${rootUuid} rw ${build.commandLine}`.trim(),
    });
    onStep("writing root");
    await writeRoot(place, BOOT_AT + bootSectors, rootUuid);
    await place.disk.handle.chown(0, 0);
  } finally {
    await Promise.all([kernel.handle.close(), initrd.handle.close()]);
  }
}

async function readKernel(
  { tree, signal }: Place,
  build: DiskBuild,
  kernel: FileHandle,
  initrd: FileHandle,
): Promise<void> {
  const { paths, boot } = await listTree(tree, signal);
  requireInit(paths, build.commandLine);
  if (build.kernel === undefined || build.initrd === undefined) {
    const chosen = chooseKernel(boot);
    await copyOfTree(tree, `boot/${chosen.kernel}`, kernel, signal);
    await copyOfTree(tree, `boot/${chosen.initrd}`, initrd, signal);
  } else {
    await copyOfHost(build.kernel, kernel);
    await copyOfHost(build.initrd, initrd);
  }
  const magic = Buffer.alloc(4);
  await kernel.read(magic, 0, magic.length, KERNEL_MAGIC_AT);
  if (magic.toString("latin1") === "HdrS") return;
  throw new TrineError("invalid", "the kernel is no bzImage: a boot loader cannot start it");
}

async function copyOfHost(path: string, to: FileHandle): Promise<void> {
  // A pipe without a writer is not waited for.
  await using from = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(
    (cause: unknown) => {
      throw new TrineError("invalid", `${quote(path)}: ${messageOf(cause)}`, { cause });
    },
  );
  const found = await from.stat();
  if (!found.isFile() || found.size > MAX_FILE_BYTES) {
    throw new TrineError("invalid", `${quote(path)}: a file of at most 1 GiB is wanted`);
  }
  await to.writeFile(await from.readFile());
}

async function writeRoot(place: Place, sector: number, uuid: string): Promise<void> {
  const sectors = place.sizeBytes / SECTOR - LAST_SECTORS - sector;
  const kib = Math.floor(sectors / SECTORS_PER_MIB) * 1024;
  const to = ["-E", `offset=${sector * SECTOR},nodiscard`, "/work/disk", String(kib)];
  const args = ["-q", "-F", "-t", "ext4", "-U", uuid, "-L", "root", "-d", "/work/tree", ...to];
  try {
    await runOnDisk(place, "mke2fs", args, [place.disk], true);
  } catch (cause) {
    if (kindOf(cause) !== "invalid" || !/[Nn]o space|allocate/.test((cause as Error).message)) {
      throw cause;
    }
    const what = `the image does not fit a disk of ${place.sizeBytes} bytes: --size`;
    throw new TrineError("invalid", what, { cause });
  }
}

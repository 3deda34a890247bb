import { chown, rm, writeFile } from "node:fs/promises";
import { buildIso9660 } from "@trine/disk-images";
import type { DiskSpec, FirmwareFile } from "@trine/vmm";
import { answersOf, ignitionOf } from "./first-boot.ts";
import type { MachineInput } from "./machine-input.ts";
import { machineSeed } from "./seed.ts";
import type { SeedExtras } from "./seed.ts";

/** Where Ignition looks under QEMU. */
const IGNITION = "opt/com.coreos/config";
/** As others name such a disk; Windows looks at its files only. */
const ANSWERS_LABEL = "unattendCfg";

/** What the guest finds beside its disks when it first boots. */
interface Told {
  readonly disks: readonly DiskSpec[];
  readonly firmwareFiles: readonly FirmwareFile[];
}

/**
 * Makes the seed, the CD with Windows' answers and the Ignition config. All of it is on tmpfs: it may hold secrets.
 * Repeatable.
 */
export async function toldAtBoot(input: MachineInput, extras: SeedExtras): Promise<Told> {
  const disks = [await answersDisk(input), await seedDisk(input, extras)];
  return {
    disks: disks.filter((disk) => disk !== undefined),
    firmwareFiles: await ignition(input),
  };
}

async function seedDisk(input: MachineInput, extras: SeedExtras): Promise<DiskSpec | undefined> {
  const seed = await machineSeed(input, extras);
  if (seed === undefined) return undefined;
  const path = input.files.seed;
  await writeFile(path, buildIso9660(seed.files, { volumeLabel: seed.volumeLabel }), {
    mode: 0o600,
  });
  const bus = input.settings.diskBus;
  // What is not written is a CD there.
  const media = bus === "sata" ? { media: "cdrom" as const } : {};
  return { name: "seed", bus, ...media, format: "raw", path, readOnly: true };
}

/** Windows has a driver for sata before its setup. */
async function answersDisk({
  settings,
  bundle,
  files,
}: MachineInput): Promise<DiskSpec | undefined> {
  const answers = await answersOf(settings, bundle.spec);
  if (answers === undefined) return undefined;
  const path = files.answers;
  await writeFile(path, buildIso9660(answers, { volumeLabel: ANSWERS_LABEL }), { mode: 0o600 });
  return { name: "sysprep", bus: "sata", media: "cdrom", format: "raw", path, readOnly: true };
}

/** The VMM reads it by its name, as its own user. */
async function ignition({ settings, bundle, files, uid }: MachineInput): Promise<FirmwareFile[]> {
  const config = await ignitionOf(settings, bundle.spec);
  if (config === undefined) return [];
  await rm(files.ignition, { force: true });
  await writeFile(files.ignition, config, { mode: 0o400 });
  await chown(files.ignition, uid, uid);
  return [{ name: IGNITION, path: files.ignition }];
}

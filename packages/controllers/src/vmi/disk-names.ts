import { createHash } from "node:crypto";
import type { Disk, VirtualMachineInstanceSpec, Volume } from "@trine/kube-types";

/** What trine.dev/disks takes: 16 characters, and not the names that are the node's own. */
const MAX_NAME = 16;
const PLAIN = /^[a-z0-9][a-z0-9-]{0,15}$/;
const TAKEN: readonly string[] = ["root", "seed", "sysprep"];
const HASH = 6;

/** A disk of the spec, with the volume it shows. */
export interface DiskOfVolume {
  readonly disk: Disk;
  readonly volume: Volume;
}

/** A short name that is the same each time: the volume's, where that will do. */
export function shortName(name: string): string {
  if (PLAIN.test(name) && !TAKEN.includes(name)) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, HASH);
  const plain = name.replace(/[^a-z0-9-]/g, "-").slice(0, MAX_NAME - HASH - 1);
  return `${plain}-${hash}`;
}

/** The disks that have a volume, in the spec's order. */
export function disksOf({ domain, volumes = [] }: VirtualMachineInstanceSpec): DiskOfVolume[] {
  return (domain.devices.disks ?? []).flatMap((disk) => {
    const volume = volumes.find(({ name }) => name === disk.name);
    return volume === undefined ? [] : [{ disk, volume }];
  });
}

/** Seeds and answers of Windows' setup: the node makes their disks itself. */
export function isSeed({ cloudInitNoCloud, cloudInitConfigDrive, sysprep }: Volume): boolean {
  return [cloudInitNoCloud, cloudInitConfigDrive, sysprep].some((source) => source !== undefined);
}

/** What the API holds as files: a disk of them, or a directory of the guest's where `filesystems` name it. */
export function holdsFiles({ configMap, secret, serviceAccount, downwardAPI }: Volume): boolean {
  return [configMap, secret, serviceAccount, downwardAPI].some((source) => source !== undefined);
}

/** What no disk can be made of. */
function isInert({ downwardMetrics, memoryDump, containerPath }: Volume): boolean {
  return [downwardMetrics, memoryDump, containerPath].some((source) => source !== undefined);
}

/** The disks that the node is told of in trine.dev/disks, the root first where there is one. */
export function toldDisks(spec: VirtualMachineInstanceSpec): readonly DiskOfVolume[] {
  const told = shownDisks(spec);
  const root = rootDisk(spec);
  if (root === undefined) return told;
  return [root, ...told.filter(({ disk }) => disk !== root.disk)];
}

/** The machine's own disk; undefined: there is nothing that a disk boots. */
export function rootDisk(spec: VirtualMachineInstanceSpec): DiskOfVolume | undefined {
  return rootOf(shownDisks(spec));
}

function shownDisks(spec: VirtualMachineInstanceSpec): DiskOfVolume[] {
  return disksOf(spec).filter(({ volume }) => !isSeed(volume) && !isInert(volume));
}

/** What boots when nothing is said of it: the first that has something in it, a drive only where there is no disk. */
function rootOf(disks: readonly DiskOfVolume[]): DiskOfVolume | undefined {
  const full = disks.filter(({ volume }) => volume.emptyDisk === undefined && !holdsFiles(volume));
  return full.find(({ disk }) => disk.cdrom === undefined) ?? full[0];
}

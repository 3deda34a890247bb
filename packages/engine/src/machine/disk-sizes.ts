import { lstat, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { openBeneath } from "@trine/disk-images";
import type { DiskSpec } from "@trine/vmm";
import { deviceBytes, deviceNumber } from "../device-bytes.ts";
import type { PodContext } from "../pod-context.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { SizeWatch } from "../size-watch.ts";
import { disksDir } from "./disk-volumes.ts";

const SECTOR_BYTES = 512;
const GROW_MS = 30_000;

/** Shows a machine's guest what its volumes have grown by: block volumes, and raw files, that it writes. */
export class DiskSizes extends SizeWatch<DiskSpec> {
  constructor(pod: PodContext, vmm: PodVmm) {
    super({
      what: () => growing(pod, vmm),
      name: ({ name }) => name,
      look: (disk) => grow(pod, vmm, disk),
      log: pod.log,
    });
  }
}

/** Of a volume, that is: what lies in the container's layer has the size it was made with. */
function growing({ document, files }: PodContext, vmm: PodVmm): DiskSpec[] {
  if (vmm.machine === undefined) return [];
  const volumes = `${disksDir(files.podDir)}${sep}`;
  const disks = document.machine?.spec.disks ?? [];
  return disks.filter(
    ({ format, readOnly, path }) => format === "raw" && !readOnly && path.startsWith(volumes),
  );
}

async function grow(pod: PodContext, vmm: PodVmm, disk: DiskSpec): Promise<void> {
  const bytes = await bytesOf(disk, disksDir(pod.files.podDir));
  const { machine } = vmm;
  if (machine === undefined || bytes > pod.deps.config.machines.maxDiskBytes) return;
  const { name } = disk;
  const grown = await machine.growDisk(name, bytes, AbortSignal.timeout(GROW_MS));
  if (grown) pod.log.info({ disk: name, bytes }, "a disk has grown");
}

/** The volume is others' too: what lies at the file's place by now may be anything, and is only looked at. */
async function bytesOf({ name, path, source }: DiskSpec, disks: string): Promise<number> {
  if (source === "block-device") return deviceBytes(deviceNumber(await stat(path)));
  const dir = join(disks, name);
  const parts = relative(dir, path).split(sep).filter(Boolean);
  if (parts.length === 0) return wholeSectors((await lstat(path)).size);
  await using handle = await openBeneath({ dir, parts });
  const stats = await handle.stat();
  return stats.isFile() ? wholeSectors(stats.size) : 0;
}

/** As QEMU shows it. */
function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

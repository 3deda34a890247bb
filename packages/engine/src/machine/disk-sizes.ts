import { sep } from "node:path";
import type { DiskSpec } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { SizeWatch } from "../size-watch.ts";
import { disksDir } from "./disk-volumes.ts";
import { DiskLooks } from "./look-at-disk.ts";

const GROW_MS = 30_000;

/** Shows a machine's guest what its volumes have grown by: block volumes, and raw files, that it writes. */
export class DiskSizes extends SizeWatch<DiskSpec> {
  constructor(pod: PodContext, vmm: PodVmm) {
    const looks = new DiskLooks();
    super({
      what: () => growing(pod, vmm),
      name: ({ name }) => name,
      look: (disk) => grow(pod, vmm, disk, looks),
      log: pod.log,
    });
  }
}

/**
 * Of a volume, that is: what lies in the container's layer has the size it was made with. A file that other machines write
 * too has one of them, or none, who says how large it is: QEMU would set it (grow-disk.ts).
 */
function growing({ document, files }: PodContext, vmm: PodVmm): DiskSpec[] {
  if (vmm.machine === undefined) return [];
  const volumes = `${disksDir(files.podDir)}${sep}`;
  const disks = document.machine?.spec.disks ?? [];
  return disks.filter(
    ({ format, readOnly, path, source, shared }) =>
      format === "raw" &&
      !readOnly &&
      path.startsWith(volumes) &&
      (source === "block-device" || shared !== true),
  );
}

async function grow(pod: PodContext, vmm: PodVmm, disk: DiskSpec, looks: DiskLooks): Promise<void> {
  const bytes = await looks.bytesOf(disk);
  const { machine } = vmm;
  if (machine === undefined || bytes === undefined) return;
  if (bytes > pod.deps.config.machines.maxDiskBytes) return;
  const { name } = disk;
  const grown = await machine.growDisk(name, bytes, AbortSignal.timeout(GROW_MS));
  if (grown) pod.log.info({ disk: name, bytes }, "a disk has grown");
}

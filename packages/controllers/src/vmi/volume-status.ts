import type { PersistentVolumeClaim } from "@trine/kube-client";
import type { VolumeStatus } from "@trine/kube-types";
import { disksOf, isSeed, rootDisk, shortName, toldDisks } from "./disk-names.ts";
import { busOf, claimOf } from "./disks.ts";
import { type Phase, type Seen, reportOf } from "./seen.ts";

const PREFIX = { virtio: "vd", scsi: "sd", sata: "sd" } as const;

/** The machine's disks, as the guest finds them. */
export function volumeStatusOf(seen: Seen, phase: Phase): readonly VolumeStatus[] {
  const { spec, claim: claims } = seen;
  const report = reportOf(seen);
  const counts = { vd: 0, sd: 0 };
  const root = rootDisk(spec);
  // The node puts its seeds last.
  const seeds = disksOf(spec).filter(({ volume }) => isSeed(volume));
  return [...toldDisks(spec), ...seeds].map(({ disk, volume }): VolumeStatus => {
    const prefix = PREFIX[busOf(disk)];
    const target = `${prefix}${letters(counts[prefix]++)}`;
    const told = disk === root?.disk ? "root" : shortName(volume.name);
    const size = report?.disks.find(({ name }) => name === told)?.bytes;
    const claimName = claimOf(volume)?.claimName;
    const claim = claimName === undefined ? undefined : claims(claimName);
    return {
      name: volume.name,
      target,
      phase: phase === "Running" ? "Ready" : "Pending",
      ...(size === undefined ? {} : { size }),
      ...(claim === undefined ? {} : { persistentVolumeClaimInfo: claimInfo(claim) }),
    };
  });
}

function claimInfo({
  metadata,
  spec,
  status,
}: PersistentVolumeClaim): NonNullable<VolumeStatus["persistentVolumeClaimInfo"]> {
  const requests = spec.resources?.requests;
  return {
    ...(metadata?.name === undefined ? {} : { claimName: metadata.name }),
    ...(spec.accessModes === undefined ? {} : { accessModes: spec.accessModes }),
    ...(spec.volumeMode === undefined ? {} : { volumeMode: spec.volumeMode }),
    ...(status?.capacity === undefined ? {} : { capacity: status.capacity }),
    ...(requests === undefined ? {} : { requests }),
  };
}

/** a … z, aa … */
function letters(index: number): string {
  const first = Math.floor(index / 26);
  const last = String.fromCharCode(97 + (index % 26));
  return first === 0 ? last : letters(first - 1) + last;
}

import {
  type Infer,
  boolean,
  fraction,
  int64,
  known,
  list,
  map,
  needed,
  object,
  quantity,
  string,
  time,
} from "../schema/schema.ts";

const persistentVolumeClaimInfo = object({
  claimName: string(),
  accessModes: list(known("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"), {
    merge: "atomic",
  }),
  volumeMode: known("Block", "Filesystem"),
  capacity: map(quantity()),
  requests: map(quantity()),
  preallocated: boolean(),
  filesystemOverhead: fraction(),
});

const hotplugVolumeStatus = object({ attachPodName: string(), attachPodUID: string() });

const domainMemoryDumpInfo = object({
  startTimestamp: time(),
  endTimestamp: time(),
  claimName: string(),
  targetFileName: string(),
});

const containerDiskInfo = object({ checksum: int64({ minimum: 0, maximum: 4294967295 }) });

export const volumeStatus = object({
  name: needed(string()),
  target: needed(string()),
  phase: known(
    "Pending",
    "Bound",
    "AttachedToNode",
    "MountedToPod",
    "Ready",
    "Detaching",
    "UnMountedFromPod",
    "MemoryDumpCompleted",
    "MemoryDumpInProgress",
    "MemoryDumpFailed",
  ),
  reason: string(),
  message: string(),
  persistentVolumeClaimInfo,
  hotplugVolume: hotplugVolumeStatus,
  size: int64(),
  memoryDumpVolume: domainMemoryDumpInfo,
  containerDiskVolume: containerDiskInfo,
});
export type VolumeStatus = Infer<typeof volumeStatus>;

export const storageMigratedVolumeInfo = object({
  volumeName: needed(string()),
  sourcePVCInfo: persistentVolumeClaimInfo,
  destinationPVCInfo: persistentVolumeClaimInfo,
});

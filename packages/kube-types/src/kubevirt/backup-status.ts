import { boolean, known, list, needed, nullable, object, string, time } from "../schema/schema.ts";

const virtualMachineInstanceBackupVolumeInfo = object({ volumeName: needed(string()) });

const virtualMachineInstanceBackupStatus = object({
  backupName: string(),
  startTimestamp: time(),
  endTimestamp: time(),
  completed: boolean(),
  failed: boolean(),
  backupMsg: string(),
  checkpointName: string(),
  volumes: list(virtualMachineInstanceBackupVolumeInfo, { merge: "atomic" }),
  quiesceStatus: string(),
});

export const changedBlockTrackingStatus = object({
  state: needed(
    known(
      "PendingRestart",
      "Initializing",
      "Enabled",
      "Disabled",
      "IncrementalBackupFeatureGateDisabled",
    ),
  ),
  backupStatus: nullable(virtualMachineInstanceBackupStatus),
});

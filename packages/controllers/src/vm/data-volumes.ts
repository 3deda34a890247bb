import type { DataVolume, VirtualMachineSpec } from "@trine/kube-types";
import { hasCondition } from "./seen.ts";
import type { Seen } from "./seen.ts";

export type VolumeTemplate = NonNullable<VirtualMachineSpec["dataVolumeTemplates"]>[number];

/** What a consumer may be started on: it is filled, or waits for just that consumer. */
const STARTABLE = new Set(["Succeeded", "WaitForFirstConsumer", "PendingPopulation"]);

/** The first template of which nothing is there. A claim of the name, left by a volume that was cleared away, is its content. */
export function missingVolume({ vm, dataVolume, claim }: Seen): VolumeTemplate | undefined {
  return vm.spec.dataVolumeTemplates?.find(({ metadata }) => {
    const name = metadata?.name ?? "";
    return dataVolume(name) === undefined && claim(name) === undefined;
  });
}

/** Whether the machine can be started on the volumes of its templates. */
export function areVolumesReady({ vm, dataVolume, claim }: Seen): boolean {
  const { dataVolumeTemplates = [] } = vm.spec;
  return dataVolumeTemplates.every(({ metadata }) => {
    const name = metadata?.name ?? "";
    const volume = dataVolume(name);
    return volume === undefined ? claim(name) !== undefined : isStartable(volume);
  });
}

function isStartable({ status }: DataVolume): boolean {
  return STARTABLE.has(status?.phase ?? "");
}

type Spoken = Pick<Seen, "vm" | "dataVolume" | "claim">;

function volumesOf({ vm, dataVolume }: Spoken): readonly DataVolume[] {
  const { volumes = [] } = vm.spec.template.spec ?? {};
  return volumes.flatMap(({ dataVolume: source }) =>
    source === undefined ? [] : (dataVolume(source.name) ?? []),
  );
}

/** Whether a volume is being filled. One that waits for its consumer is not, while it has no claim. */
export function isProvisioning(seen: Spoken): boolean {
  return volumesOf(seen).some((volume) => {
    const { phase } = volume.status ?? {};
    if (phase === "Succeeded" || phase === "PendingPopulation") return false;
    return hasCondition(volume, "Bound", "True") || phase !== "WaitForFirstConsumer";
  });
}

/** Whether a volume cannot be filled. */
export function hasVolumeError(seen: Spoken): boolean {
  return volumesOf(seen).some(
    (volume) =>
      volume.status?.phase === "Failed" ||
      hasCondition(volume, "Running", "False", "Error") ||
      hasCondition(volume, "Running", "False", "ImagePullFailed"),
  );
}

/** Whether a claim of the machine's has no volume yet. */
export function hasUnboundClaim({ vm, claim }: Spoken): boolean {
  const { volumes = [] } = vm.spec.template.spec ?? {};
  return volumes.some(({ persistentVolumeClaim, dataVolume, ephemeral, memoryDump }) => {
    const name =
      persistentVolumeClaim?.claimName ??
      dataVolume?.name ??
      ephemeral?.persistentVolumeClaim?.claimName ??
      memoryDump?.claimName;
    const found = name === undefined ? undefined : claim(name);
    return found !== undefined && found.status?.phase !== "Bound";
  });
}

import type { PersistentVolumeClaim, Pod, Stored } from "@trine/kube-client";
import type {
  DataVolume,
  DataVolumeSpec,
  StorageProfile,
  VirtualMachineInstanceSpec,
} from "@trine/kube-types";
import type { ImportReport } from "@trine/node-door";
import type { Plan } from "./plan-filling.ts";

export type Volume = Stored<DataVolume>;

/** Of a claim: its volume is filled, and by whom. It outlives the pod that filled it, and the DataVolume. */
export const POD_PHASE = "cdi.kubevirt.io/storage.pod.phase";
export const POD_READY = "cdi.kubevirt.io/storage.pod.ready";
export const PREALLOCATED = "cdi.kubevirt.io/storage.preallocation";
export const RETAIN = "cdi.kubevirt.io/storage.pod.retainAfterCompletion";
const POPULATED_FOR = "cdi.kubevirt.io/storage.populatedFor";
const ALLOW_ADOPTION = "cdi.kubevirt.io/allowClaimAdoption";
const IMMEDIATE = "cdi.kubevirt.io/storage.bind.immediate.requested";

/** Where the pods of a consumer may run, and what they ask for. */
export type Placement = Pick<
  VirtualMachineInstanceSpec,
  "nodeSelector" | "affinity" | "tolerations" | "domain" | "volumes"
>;

/** The other claims of a volume's first consumer. */
export interface Sisters {
  /** Which the pod that binds the volume names too: one node is chosen for all. */
  readonly claims: readonly string[];
  /** The pod of another one binds it too. */
  readonly isBehind: boolean;
  /** The pod of another one asks for the machine's room already. */
  readonly isRoomHeld: boolean;
}

/** What else a claim follows from. */
export interface ClaimFacts {
  /** That it is to have, where the volume says none. */
  readonly className?: string | undefined;
  /** Of the storage class, where there is a profile of it. */
  readonly profile?: StorageProfile | undefined;
  /** Of 1: what a file system takes for itself. */
  readonly overhead: number;
  /** Of the claim that is copied, where the volume says no size. */
  readonly sourceBytes?: number | undefined;
}

/** All that a decision on a volume looks at. */
export interface Seen {
  readonly volume: Volume;
  /** With what a DataSource stands for. */
  readonly source: DataVolumeSpec["source"];
  readonly plan: Plan;
  readonly facts: ClaimFacts;
  readonly claim: Stored<PersistentVolumeClaim> | undefined;
  /** Fills it. */
  readonly pod: Stored<Pod> | undefined;
  /** Gives the claim of another namespace that is copied. */
  readonly giver: Stored<Pod> | undefined;
  /** All that say they give to it. */
  readonly givers: readonly Stored<Pod>[];
  /** Its storage is chosen by the first pod that uses it. */
  readonly waitsForConsumer: boolean;
  /** The first that wants to use it. */
  readonly consumer: Placement | undefined;
  /** Of that one, while the volume waits for a node. */
  readonly sisters: Sisters | undefined;
  /** Why its source cannot be read now. */
  readonly sourceTrouble: string | undefined;
  /** Why its claim cannot be written to now. */
  readonly targetTrouble: string | undefined;
  readonly report: ImportReport | undefined;
  readonly now: Date;
}

export function isLeaving({ metadata }: Stored): boolean {
  return metadata.deletionTimestamp !== undefined;
}

export function isOwn(claim: Stored<PersistentVolumeClaim>, volume: Volume): boolean {
  const { uid } = volume.metadata;
  if (claim.metadata.uid === uid) return true; // filled for itself
  return claim.metadata.ownerReferences?.some((owner) => owner.uid === uid) ?? false;
}

/** Whether a claim that is there already is the volume's content. */
export function isAdopted(claim: Stored<PersistentVolumeClaim>, volume: Volume): boolean {
  if (isOwn(claim, volume)) return false; // made for it, and empty
  const { metadata } = volume;
  return (
    claim.metadata.annotations?.[POPULATED_FOR] === metadata.name ||
    metadata.annotations?.[ALLOW_ADOPTION] === "true"
  );
}

export function isFilled({ metadata }: PersistentVolumeClaim): boolean {
  return metadata?.annotations?.[POD_PHASE] === "Succeeded";
}

export function isImmediate({ metadata }: Volume): boolean {
  return metadata.annotations?.[IMMEDIATE] !== undefined;
}

/** Whether its disk is to have all of its space. Of a device the storage says that. */
export function isPreallocated({ spec }: DataVolume, claim: PersistentVolumeClaim): boolean {
  return spec.preallocation === true && claim.spec.volumeMode !== "Block";
}

export function isBound(claim: PersistentVolumeClaim): boolean {
  return claim.status?.phase === "Bound";
}

/** What the container says of its end, where it has failed, or kubelet, where it has ended the pod. */
export function failureOf(pod: Pod | undefined): string | undefined {
  const { phase, reason, message: why } = pod?.status ?? {};
  if (phase === "Failed" && reason !== undefined)
    return `${reason}: ${why ?? "the pod has failed"}`;
  const [status] = pod?.status?.containerStatuses ?? [];
  const ended = status?.state?.terminated ?? status?.lastState?.terminated;
  if (ended === undefined || ended.exitCode === 0) return undefined;
  const message = ended.message ?? "";
  try {
    const said = (JSON.parse(message) as { message?: unknown } | null)?.message;
    if (typeof said === "string") return said;
  } catch {
    // Not the import's own words, such as of a container that could not be made.
  }
  return message === "" ? `it ended with ${ended.exitCode}` : message;
}

import type { ContainerStatus, PersistentVolumeClaim, Pod, Stored } from "@trine/kube-client";
import type {
  DataVolume,
  VirtualMachineInstance,
  VirtualMachineInstanceSpec,
} from "@trine/kube-types";
import type { MachineReport } from "@trine/node-door";
import type { Attempt } from "./growths.ts";
import type { Heard } from "./heard.ts";
import { DATA_VOLUMES } from "../kinds.ts";
import { isFilled } from "../data-volume/seen.ts";
import { isUploadTarget } from "../data-volume/upload-claim.ts";
import { controllerOf } from "../owner.ts";
import { claimOf } from "./disks.ts";
import { COMPUTE } from "./networks.ts";
import type { Rendering } from "./render-pod.ts";

export type Instance = Stored<VirtualMachineInstance>;
export type Phase = NonNullable<NonNullable<VirtualMachineInstance["status"]>["phase"]>;

/** All that a decision on an instance looks at. */
export interface Seen {
  readonly vmi: Instance;
  /** With what the webhook fills in. */
  readonly spec: VirtualMachineInstanceSpec;
  /** The instance's own; undefined: the API server has none, whatever a cache says. */
  readonly pod: Stored<Pod> | undefined;
  /** Of the pod's node; undefined while the pod has none. */
  readonly heard: Heard | undefined;
  /** The pod's node is known not to run anything any more (its out-of-service taint). */
  readonly isFenced: boolean;
  /** Of the instance's namespace, by name. */
  readonly claim: (name: string) => PersistentVolumeClaim | undefined;
  readonly dataVolume: (name: string) => DataVolume | undefined;
  /** The pod that is to be made, while there is none. */
  readonly rendering: Rendering | undefined;
  /** What the API server has against the pod that was to be made just now. */
  readonly refused?: string;
  /** What the machine's container is to ask for by the spec as it is now, and no less than its guest has. */
  readonly asks: Readonly<Record<string, string>>;
  /** The last try to give the guest what the spec has more. */
  readonly attempt: Attempt | undefined;
  readonly now: Date;
}

/** So long a node may be silent before its machines are said to be in no known state. */
export const SILENCE_MS = 60_000;

export function isLeaving({ metadata }: Stored): boolean {
  return metadata.deletionTimestamp !== undefined;
}

export function phaseOf({ status }: VirtualMachineInstance): Phase {
  const phase = status?.phase ?? "";
  return phase === "" ? "Pending" : phase;
}

export function isFinal(phase: Phase): boolean {
  return phase === "Succeeded" || phase === "Failed";
}

/** What the node says of this very pod's machine. */
export function reportOf({ heard }: Seen): MachineReport | undefined {
  return heard?.report;
}

/** Of the machine's container. */
export function machineStatus({ pod }: Pick<Seen, "pod">): ContainerStatus | undefined {
  return pod?.status?.containerStatuses?.find(({ name }) => name === COMPUTE);
}

/** Volumes that a DataVolume fills, by its name. */
export function dataVolumeNames({ volumes = [] }: VirtualMachineInstanceSpec): readonly string[] {
  return volumes.flatMap(({ dataVolume }) => (dataVolume === undefined ? [] : [dataVolume.name]));
}

type Volumes = Pick<Seen, "spec" | "claim" | "dataVolume">;

/** DataVolumes that are not filled yet and whose claims the spec has, by whichever kind of volume; and claims that wait for an upload. */
export function unfilled({ spec, ...seen }: Volumes): readonly string[] {
  const names = (spec.volumes ?? []).flatMap((volume) => {
    const name = claimOf(volume)?.claimName;
    if (name === undefined) return [];
    return fillerOf(name, volume.dataVolume !== undefined, seen) ?? [];
  });
  return [...new Set(names)];
}

/** The DataVolume that has yet to fill a claim. One that is not there stands for a claim of its name, whoever made that. */
function fillerOf(
  name: string,
  isNamed: boolean,
  { claim, dataVolume }: Omit<Volumes, "spec">,
): string | undefined {
  const found = claim(name);
  const owner = found === undefined ? undefined : controllerOf(found);
  if (found !== undefined && owner?.kind === DATA_VOLUMES.kind) {
    // Either says it alone. A cache that does not have the volume yet says nothing.
    const isDone = isFilled(found) || dataVolume(owner.name)?.status?.phase === "Succeeded";
    return isDone ? undefined : owner.name;
  }
  if (found !== undefined && isUploadTarget(found) && !isFilled(found)) return name;
  const volume = isNamed ? dataVolume(name) : undefined;
  return volume === undefined || volume.status?.phase === "Succeeded" ? undefined : name;
}

import type { PersistentVolumeClaim } from "@trine/kube-client";
import type { Overheads } from "../data-volume/overhead.ts";
import { bytesOf } from "./settings.ts";

/** What of a claim matters to who uses it. */
export interface KnownClaim {
  readonly block: boolean;
  /** What it has, or asks for while it has nothing. */
  readonly capacityBytes: number;
  /** Of 1: what its file system takes for itself, and no disk in it is offered. */
  readonly overhead: number;
}

export function knownClaim(
  { spec, status }: PersistentVolumeClaim,
  overheadOf: Overheads,
): KnownClaim {
  const { requests } = spec.resources ?? {};
  const has = status?.capacity?.["storage"] ?? requests?.["storage"];
  return {
    block: spec.volumeMode === "Block",
    capacityBytes: bytesOf(has) ?? 0,
    overhead: overheadOf(spec.storageClassName),
  };
}

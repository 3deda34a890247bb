import type { PersistentVolumeClaim } from "@trine/kube-client";
import { bytesOf } from "./settings.ts";

/** What of a claim matters to who uses it. */
export interface KnownClaim {
  readonly block: boolean;
  /** What it has, or asks for while it has nothing. */
  readonly capacityBytes: number;
}

export function knownClaim({ spec, status }: PersistentVolumeClaim): KnownClaim {
  const { requests } = spec.resources ?? {};
  const has = status?.capacity?.["storage"] ?? requests?.["storage"];
  return { block: spec.volumeMode === "Block", capacityBytes: bytesOf(has) ?? 0 };
}

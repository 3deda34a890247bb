import type { KubeApi } from "@trine/kube-client";
import { CDI_CONFIGS } from "../kinds.ts";
import { absent } from "./absent.ts";

/** Of a file system's size, what it takes for itself: CDI's. */
export const DEFAULT_OVERHEAD = 0.06;

/** Of 1: what a file system of that storage class takes for itself. Volumes and machines' disks are made by the same. */
export type Overheads = (className: string | undefined) => number;

export async function overheads(
  api: Pick<KubeApi, "get">,
  signal: AbortSignal,
): Promise<Overheads> {
  const config = await api.get(CDI_CONFIGS, { name: "config" }, signal).catch(absent);
  const said = config?.status?.filesystemOverhead ?? config?.spec.filesystemOverhead;
  return (className = "") => {
    const share = Number(said?.storageClass?.[className] ?? said?.global ?? DEFAULT_OVERHEAD);
    return share >= 0 && share < 1 ? share : DEFAULT_OVERHEAD;
  };
}

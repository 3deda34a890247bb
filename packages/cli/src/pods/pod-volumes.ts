import { join } from "node:path";
import { TrineError } from "@trine/base";
import {
  bindSubPath,
  environmentOf,
  expand,
  materialiseVolume,
  planVolume,
  resolveOwnSubPath,
} from "@trine/pod-spec";
import type { Container, ReadyMount, Scope, VolumeHome } from "@trine/pod-spec";
import type { PodRecord } from "./pod-records.ts";

interface Ready {
  readonly path: string;
  readonly image?: string;
  readonly readOnly: boolean;
  /** We wrote all of it, and the pod can only read. */
  readonly ours: boolean;
}

export type Volumes = ReadonlyMap<string, Ready>;

/** Makes every volume of a pod. */
export async function makeVolumes(
  record: PodRecord,
  scope: Scope,
  home: VolumeHome,
): Promise<Volumes> {
  const { spec } = record.pod;
  const volumes = new Map<string, Ready>();
  for (const volume of spec.volumes) {
    const plan = planVolume(volume, scope, record.claims);
    if (plan.kind === "image") {
      volumes.set(volume.name, { path: "", image: plan.reference, readOnly: true, ours: true });
      continue;
    }
    const group = spec.securityContext.fsGroup;
    const path = await materialiseVolume(volume.name, plan, home, group);
    const ours = plan.kind === "files";
    const readOnly = ours || (plan.kind === "claim" && plan.readOnly);
    volumes.set(volume.name, { path, readOnly, ours });
  }
  return volumes;
}

/**
 * The mounts of one container, each with its path on the node. Parts of volumes that pods write to are
 * mounted below `home` first: what the runtime is given cannot be changed by a pod any more.
 */
export async function readyMounts(
  container: Container,
  scope: Scope,
  volumes: Volumes,
  home: VolumeHome,
): Promise<ReadyMount[]> {
  const variables = environmentOf(container, scope);
  const mounts: ReadyMount[] = [];
  for (const [index, mount] of container.volumeMounts.entries()) {
    const volume = volumes.get(mount.name);
    if (volume === undefined) throw new TrineError("invalid", `no volume ${mount.name}`);
    const subPath =
      mount.subPathExpr === undefined
        ? mount.subPath
        : inner(expand(mount.subPathExpr, (name) => variables.get(name)));
    // No volume's name has a dot.
    const target = join(home.memory, ".parts", container.name, String(index));
    const hostPath = await pathOf(volume, subPath, target);
    const { readOnly, image } = volume;
    const named = subPath === undefined ? mount : { ...mount, subPath };
    mounts.push({ mount: named, hostPath, readOnly, ...(image === undefined ? {} : { image }) });
  }
  return mounts;
}

async function pathOf(volume: Ready, subPath: string | undefined, target: string): Promise<string> {
  if (subPath === undefined || volume.image !== undefined) return volume.path;
  if (volume.ours) return resolveOwnSubPath(volume.path, subPath);
  await bindSubPath(volume.path, subPath, target);
  return target;
}

function inner(path: string): string {
  if (!path.startsWith("/") && !path.split("/").includes("..")) return path;
  throw new TrineError("invalid", `subPathExpr gives ${path}: a path within the volume is wanted`);
}

import { isAbsolute, join } from "node:path";
import type { Bundle } from "../bundle.ts";
import { record, text } from "../json-shape.ts";
import type { CreateTask } from "../requests.ts";
import { planVolumes } from "../share-mounts.ts";
import type { PlannedMount, SharedMount } from "../share-mounts.ts";

/**
 * Where a container's root, unless it is on disks, and the sources of its mounts go below `dir`, its directory of
 * the share. Kind `invalid` for a source that no file server can show.
 */
export async function planShare(
  dir: string,
  container: { task: CreateTask; bundle: Bundle; onDisks: boolean },
  mounts: readonly SharedMount[],
): Promise<PlannedMount[]> {
  const root = { target: join(dir, "rootfs"), kind: "directory", what: rootOf(container) } as const;
  return [...(container.onDisks ? [] : [root]), ...(await planVolumes(dir, mounts))];
}

/** containerd's snapshot, or what docker and `ctr run --rootfs` have made ready. */
function rootOf({ task, bundle }: { task: CreateTask; bundle: Bundle }): PlannedMount["what"] {
  if (task.rootfs.length > 0) {
    return { mounts: task.rootfs.map((layer) => ({ ...layer, options: [...layer.options] })) };
  }
  const path = text(record(bundle.spec["root"])["path"]) || "rootfs";
  return { bind: { source: isAbsolute(path) ? path : join(bundle.path, path) } };
}

import type { ImageStore } from "@trine/containerd-client";
import { dropLease } from "./store/store-image.ts";
import { WorkDir } from "./work-dir.ts";

export interface Leftover {
  readonly key: string;
  /** `kept`: a download that the same import can go on with. */
  readonly state: "kept" | "removed";
}

/**
 * Removes what imports that died have left, here and in containerd; `all`: begun downloads too. With `dryRun` it
 * is only said what would become of each.
 */
export async function collectLeftovers(
  store: ImageStore,
  options: { readonly workDir: string; readonly all: boolean; readonly dryRun?: boolean },
): Promise<Leftover[]> {
  const dirs = await WorkDir.abandoned(options.workDir);
  const found: Leftover[] = [];
  try {
    for (const dir of dirs) {
      const isKept = !options.all && (await dir.isResumable());
      if (options.dryRun !== true) {
        await dropLease(store, dir.key);
        await (isKept ? dir.keepDownload() : dir.remove());
      }
      found.push({ key: dir.key, state: isKept ? "kept" : "removed" });
    }
  } finally {
    // Of what was taken and not come to no lock may stay.
    await Promise.all(dirs.map((dir) => dir.leave()));
  }
  return found;
}

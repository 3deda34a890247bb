import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { MachineSettings } from "@trine/annotations";
import { TrineError } from "@trine/base";
import type { Bundle } from "./bundle.ts";

const MIB = 1024 * 1024;
/**
 * What a machine costs its pod beyond the guest's own memory: VMM (45 to 93 MiB with its translation cache), shim,
 * page tables. RuntimeClass `trine-vm` charges the same; `trine-microvm` the smallest guest besides.
 */
export const MACHINE_OVERHEAD_BYTES = 96 * MIB;

/** The annotation by which Virtlet's manifests choose their runtime: their pods have no RuntimeClass that charges overhead. */
const TARGET_RUNTIME = "kubernetes.io/target-runtime";
/** Less boots nothing. */
const LEAST_BYTES = 32 * MIB;

/**
 * Guest memory (decision 10): annotation, else the container's limit, else the node's default; whole
 * MiB. Kind `invalid` when it cannot fit the pod's own memory limit together with the overhead. Of a limit in a manifest
 * for Virtlet, which knew no overhead, that is taken off.
 */
export async function guestMemory(
  settings: MachineSettings,
  bundle: Bundle,
  node: { defaultBytes: number; cgroups: readonly string[] },
): Promise<number> {
  const wanted = settings.memoryBytes ?? bundle.memoryLimitBytes ?? node.defaultBytes;
  const isVirtlets =
    settings.memoryBytes === undefined && bundle.annotations[TARGET_RUNTIME] !== undefined;
  const room = isVirtlets ? await roomIn(node.cgroups) : undefined;
  const bytes = Math.floor(Math.min(wanted, room ?? wanted) / MIB) * MIB;
  await requireRoom(bytes, node.cgroups);
  return bytes;
}

/** Kind `invalid` when a guest of that memory does not fit its pod's limit together with the overhead. */
export async function requireRoom(bytes: number, cgroups: readonly string[]): Promise<void> {
  const limit = await podMemoryLimit(cgroups);
  if (limit !== undefined && bytes + MACHINE_OVERHEAD_BYTES > limit) {
    throw new TrineError(
      "invalid",
      `guest memory ${bytes / MIB} MiB and the machine's overhead of ${MACHINE_OVERHEAD_BYTES / MIB} MiB exceed ` +
        `the pod's limit of ${Math.floor(limit / MIB)} MiB: use the RuntimeClass with its overhead, or set trine.dev/memory lower`,
    );
  }
}

/** What a pod's limit leaves for a guest; undefined where it leaves none, or there is no limit. */
async function roomIn(cgroups: readonly string[]): Promise<number | undefined> {
  const room = ((await podMemoryLimit(cgroups)) ?? 0) - MACHINE_OVERHEAD_BYTES;
  return room < LEAST_BYTES ? undefined : room;
}

/** The limit of the pod's cgroup, which is the parent of the sandbox's (memory controller or v2). */
async function podMemoryLimit(cgroups: readonly string[]): Promise<number | undefined> {
  for (const dir of cgroups) {
    for (const name of ["memory.limit_in_bytes", "memory.max"]) {
      const text = await readFile(join(dirname(dir), name), "utf8").catch(() => undefined);
      const bytes = Number(text);
      // "max", absent, and cgroup v1's "no limit" (near 2^63) all mean none.
      if (text !== undefined && Number.isFinite(bytes) && bytes < Number.MAX_SAFE_INTEGER) {
        return bytes;
      }
    }
  }
  return undefined;
}

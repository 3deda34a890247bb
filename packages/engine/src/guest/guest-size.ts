import { availableParallelism } from "node:os";
import type { MicrovmSettings } from "@trine/annotations";
import type { Bundle } from "../bundle.ts";
import { requireRoom } from "../guest-memory.ts";

const MIB = 1024 * 1024;
/** Less, and the guest does not come up: Debian's kernel and its initramfs need 100 MiB before anything else runs. */
const LEAST_BYTES = 112 * MIB;
/**
 * As far as this a guest has what the smallest one needs beside its pod's limit, or containers could not use it whole.
 * What is not touched costs nothing, and the RuntimeClass's overhead has room for it; but larger sizes are templates'.
 */
const BESIDES_BELOW_BYTES = 256 * MIB;
/** CPU shares of one CPU (cgroup v1's scale, which CRI uses). */
const SHARES_PER_CPU = 1024;
/** What one-byte APIC ids address. */
const MOST_CPUS = 255;

/** Numbers of the rules below that whoever decides before the pod is known to this daemon goes by. */
export const GUEST_LIMITS = {
  leastMemoryBytes: LEAST_BYTES,
  besidesBelowBytes: BESIDES_BELOW_BYTES,
  mostCpus: Math.min(availableParallelism(), MOST_CPUS),
};

/** What containerd says of a pod as a whole, on its sandbox. */
const SANDBOX = "io.kubernetes.cri.sandbox";

/** Memory of a guest whose containers may use so much together. */
function memoryFor(limitBytes: number): number {
  return Math.max(limitBytes, Math.min(limitBytes + LEAST_BYTES, BESIDES_BELOW_BYTES));
}

/**
 * CPUs and memory of a pod's guest: annotation, else the pod's limits, else what it requests, else the
 * node's default. Kind `invalid` when the memory does not fit the pod's own limit with the overhead.
 */
export async function guestSize(
  settings: MicrovmSettings,
  sandbox: Bundle,
  node: {
    readonly defaultMemoryBytes: number;
    readonly defaultCpus: number;
    readonly cgroups: readonly string[];
  },
): Promise<{ cpus: number; memoryBytes: number }> {
  const limit = podMemory(sandbox);
  const given = limit === undefined ? node.defaultMemoryBytes : memoryFor(limit);
  const wanted = settings.memoryBytes ?? given;
  const memoryBytes = Math.max(LEAST_BYTES, Math.floor(wanted / MIB) * MIB);
  await requireRoom(memoryBytes, node.cgroups);
  return { memoryBytes, cpus: settings.cpus ?? podCpus(sandbox) ?? node.defaultCpus };
}

/**
 * What a pod's guest has however small its containers' limits become: what annotations ask for, or what the node gives
 * where nothing is limited.
 */
export function leastSize(
  settings: MicrovmSettings,
  sandbox: Bundle,
  node: { readonly defaultMemoryBytes: number; readonly defaultCpus: number },
): { cpus: number; memoryBytes: number } {
  const unlimited = podMemory(sandbox) === undefined ? node.defaultMemoryBytes : LEAST_BYTES;
  const quota = positive(sandbox.annotations[`${SANDBOX}-cpu-quota`]);
  const cpus = quota === undefined ? (podCpus(sandbox) ?? node.defaultCpus) : 1;
  return { memoryBytes: settings.memoryBytes ?? unlimited, cpus: settings.cpus ?? cpus };
}

function podMemory({ annotations, memoryLimitBytes, isPodSandbox }: Bundle): number | undefined {
  // A container that is its own pod says it itself; a sandbox's own limit is the pause container's.
  return isPodSandbox ? positive(annotations[`${SANDBOX}-memory`]) : memoryLimitBytes;
}

/** Whole CPUs that hold the limit, else the request; never more than the node has. */
function podCpus({ annotations }: Bundle): number | undefined {
  const quota = positive(annotations[`${SANDBOX}-cpu-quota`]);
  const period = positive(annotations[`${SANDBOX}-cpu-period`]) ?? 100_000;
  const shares = positive(annotations[`${SANDBOX}-cpu-shares`]);
  const wanted =
    quota === undefined
      ? shares !== undefined && shares > 2 // 2 is what a pod without a request has
        ? shares / SHARES_PER_CPU
        : undefined
      : quota / period;
  if (wanted === undefined) return undefined;
  return Math.min(Math.ceil(wanted), GUEST_LIMITS.mostCpus);
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

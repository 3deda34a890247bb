import { readFile } from "node:fs/promises";
import { HANDLER_MICROVM, HANDLER_VM } from "@trine/annotations";
import { TrineError } from "@trine/base";
import { overheadOf } from "@trine/engine";
import type { PodSummary } from "@trine/engine";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import type { Overheads } from "./runtime-classes.ts";

const MIB = 1024 * 1024;
/** What is charged grows by such steps: two measurements of the same node should say the same. */
const STEP = 16 * MIB;
/** A microVM's pod is charged the smallest guest too: below its limits there is the guest's kernel (docs/reference/microvm.md). */
const LEAST_GUEST = 112 * MIB;
const HANDLERS = { vm: HANDLER_VM, microvm: HANDLER_MICROVM } as const;
const MOST_PROCESSES = 64;

/**
 * What the pods of Trine that run on this node now cost beyond their guests' memory: the most that any pod of a handler
 * does, by the kernel's count of each of its processes. Kind `wrongState` where none runs.
 */
export async function measureOverheads(
  io: Io,
): Promise<{ readonly overheads: Overheads; readonly words: readonly string[] }> {
  const pods = await new NodeClient(io).pods();
  const most = new Map<string, { bytes: number; pods: number }>();
  for (const pod of pods) {
    const bytes = await costOf(pod);
    if (bytes === undefined) continue;
    const handler = HANDLERS[pod.level];
    const { bytes: before = 0, pods: count = 0 } = most.get(handler) ?? {};
    most.set(handler, { bytes: Math.max(before, bytes), pods: count + 1 });
  }
  if (most.size === 0) {
    const what =
      "--measure: no pod of Trine runs on this node: run those that are usual for it first";
    throw new TrineError("wrongState", what);
  }
  const found = [...most];
  return {
    overheads: new Map(found.map(([handler, { bytes }]) => [handler, roundUp(bytes)])),
    words: found.map(([handler, { bytes, pods: count }]) => {
      return `${handler}: ${Math.ceil(bytes / MIB)} MiB at most beyond the guest's memory, in ${count} pods`;
    }),
  };
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / STEP) * STEP;
}

/** undefined for a pod whose machine does not run. */
async function costOf({ level, shim, machine }: PodSummary): Promise<number | undefined> {
  if (machine?.pid === undefined) return undefined;
  const processes = [shim.pid, ...(await childrenOf(shim.pid))];
  // Memory that was given since lies in a mapping larger than any guest.
  const guestBytes = machine.firstMemoryBytes ?? machine.memoryBytes;
  const bytes = await overheadOf(processes, guestBytes);
  return level === "microvm" ? bytes + LEAST_GUEST : bytes;
}

/** The shim starts all that belongs to a pod's machine. */
async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const words = text.split(" ").filter((word) => word !== "");
  return words.slice(0, MOST_PROCESSES).map(Number);
}

import { TrineError } from "@trine/base";
import type { QmpClient, QmpCommands } from "@trine/qmp";
import { takesCpus } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import { GROWING_ID } from "./plan-memory.ts";

/** The guest takes or gives back pieces of its growing memory until it has this much. */
export async function resizeMemory(
  spec: MachineSpec,
  client: QmpClient,
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  if (spec.memoryMaxBytes === undefined) return;
  const value = bytes - spec.memoryBytes;
  const path = `/machine/peripheral/${GROWING_ID}`;
  await client.execute("qom-set", { path, property: "requested-size", value }, { signal });
}

type Place = QmpCommands["query-hotpluggable-cpus"]["returns"][number];

const ADDED = "/machine/peripheral/cpu-";

/**
 * Plugs CPUs in, or asks the guest to let go of those that were plugged in, the newest first; answers how many are left
 * then. Kind `wrongState` where QEMU would not survive it. Its emulation does not survive that one is taken back and given
 * again (`n < tcg_max_ctxs` in tcg/tcg.c), nor with one thread for all that it is taken back at all: those stay.
 */
export async function resizeCpus(
  spec: MachineSpec,
  client: QmpClient,
  count: number,
  signal: AbortSignal,
): Promise<number> {
  const places = await client.execute("query-hotpluggable-cpus", {}, { signal });
  const inOrder = places.toSorted(compare).map((place, index) => ({ ...place, index }));
  const used = inOrder.filter((place) => place["qom-path"] !== undefined);
  const free = inOrder.filter((place) => place["qom-path"] === undefined);
  const added = free.slice(0, Math.max(0, count - used.length));
  if (added.length > 0 && !takesCpus(spec)) {
    const why = `under emulation a guest that began with ${spec.cpus} CPUs takes no more`;
    throw new TrineError("wrongState", `${count} CPUs: ${why} until it is started anew`);
  }
  for (const place of added) {
    const cpu = { driver: place.type, id: `cpu-${place.index}`, ...place.props };
    await client.execute("device_add", cpu, { signal });
  }
  if (spec.accelerator === "tcg") return used.length + added.length;
  for (const place of used.slice(count).reverse()) {
    const path = place["qom-path"] ?? "";
    if (!path.startsWith(ADDED)) continue; // there from the start: the limits keep those
    await client.execute("device_del", { id: `cpu-${place.index}` }, { signal });
  }
  return count;
}

const LEVELS = ["socket-id", "die-id", "core-id", "thread-id"] as const;

/** Socket by socket, core by core: as QEMU numbers those it starts with. */
function compare(one: Place, other: Place): number {
  for (const level of LEVELS) {
    const difference = (one.props[level] ?? 0) - (other.props[level] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

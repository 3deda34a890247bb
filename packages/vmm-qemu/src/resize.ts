import type { QmpClient, QmpCommands } from "@trine/qmp";
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

/** Plugs CPUs in, or asks the guest to let go of those that were plugged in, the newest first. */
export async function resizeCpus(
  client: QmpClient,
  count: number,
  signal: AbortSignal,
): Promise<void> {
  const places = await client.execute("query-hotpluggable-cpus", {}, { signal });
  const byIndex = places.toSorted((one, other) => indexOf(one) - indexOf(other));
  const used = byIndex.filter((place) => place["qom-path"] !== undefined);
  const free = byIndex.filter((place) => place["qom-path"] === undefined);
  for (const place of free.slice(0, Math.max(0, count - used.length))) {
    const cpu = { driver: place.type, id: `cpu-${indexOf(place)}`, ...place.props };
    await client.execute("device_add", cpu, { signal });
  }
  for (const place of used.slice(count).reverse()) {
    const id = place["qom-path"] ?? "";
    if (!id.startsWith(ADDED)) continue; // there from the start: the limits keep those
    await client.execute("device_del", { id: `cpu-${indexOf(place)}` }, { signal });
  }
}

/** One socket of single-threaded cores. */
function indexOf(place: Place): number {
  return place.props["core-id"] ?? 0;
}

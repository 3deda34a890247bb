import type { QmpClient } from "@trine/qmp";
import type { MachineSpec } from "@trine/vmm";
import { diskNode } from "./plan-disks.ts";

export async function diskBytes(
  { disks }: Pick<MachineSpec, "disks">,
  client: Pick<QmpClient, "execute">,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const nodes = await client.execute("query-named-block-nodes", { flat: true }, { signal });
  const sizes = new Map(
    nodes.map((node) => [node["node-name"], node.image?.["virtual-size"]] as const),
  );
  const known = disks.flatMap(({ name }) => {
    const bytes = sizes.get(diskNode(name));
    return bytes === undefined ? [] : [[name, bytes] as const];
  });
  return new Map(known);
}

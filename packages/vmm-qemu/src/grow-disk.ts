import type { QmpClient } from "@trine/qmp";
import type { DiskSpec } from "@trine/vmm";
import { diskNode } from "./plan-disks.ts";

/**
 * Shows the guest more of a raw disk that its host has enlarged; answers whether there was more. QEMU looks at the size of a
 * device only when it is asked to make it that large, which it is already. A regular file it sets to that size, and would
 * cut off what was added since: the caller says no size that is still changing.
 */
export async function growDisk(
  client: QmpClient,
  { name, offsetBytes = 0 }: Pick<DiskSpec, "name" | "offsetBytes">,
  bytes: number,
  signal: AbortSignal,
): Promise<boolean> {
  const node = diskNode(name);
  const nodes = await client.execute("query-named-block-nodes", { flat: true }, { signal });
  const has = nodes.find((each) => each["node-name"] === node)?.image?.["virtual-size"];
  const size = bytes - offsetBytes;
  if (has === undefined || size <= has) return false;
  await client.execute("block_resize", { "node-name": node, size }, { signal });
  return true;
}

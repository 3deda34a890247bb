import type { Io } from "./io.ts";
import { NodeClient } from "./node-client.ts";

/** `trine inspect POD` */
export async function inspectPod(io: Io, name: string): Promise<void> {
  const pod = await new NodeClient(io).pod(name);
  io.stdout.write(`${JSON.stringify(pod, null, 2)}\n`);
}

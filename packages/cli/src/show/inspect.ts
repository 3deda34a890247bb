import { kindOf } from "@trine/base";
import type { PodSummary } from "@trine/engine";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { machineReadable } from "../output/output.ts";
import type { Output } from "../output/output.ts";
import { PodRecords } from "../pods/pod-records.ts";
import { toPodObject } from "../pods/pod-object.ts";
import type { PodView } from "../pods/pod-view.ts";
import { findPod } from "../pods/select-pods.ts";

/** `trine inspect POD...`: the pod, its containers, and its machine where it has one. */
export async function inspectPods(
  io: Io,
  names: readonly string[],
  flags: { output: Output },
): Promise<void> {
  const found = await withCri(io, async (cri) => {
    const pods: object[] = [];
    for (const name of names) pods.push(await describe(io, await findPod(cri, name, io.signal)));
    return pods;
  });
  const [first] = found;
  const value = found.length === 1 ? first : { apiVersion: "v1", kind: "List", items: found };
  io.stdout.write((await machineReadable(flags.output, value)) ?? "");
}

async function describe(io: Io, view: PodView): Promise<object> {
  const record = await new PodRecords(io).find(view.uid);
  const daemon = await summaryOf(io, view);
  return {
    ...toPodObject(view),
    ...(record === undefined ? {} : { spec: record.pod.spec }),
    sandboxId: view.sandboxId,
    addresses: view.ips,
    level: view.level,
    containers: view.containers,
    ...(daemon === undefined ? {} : { shim: daemon.shim, machine: daemon.machine }),
  };
}

async function summaryOf(io: Io, view: PodView): Promise<PodSummary | undefined> {
  if (view.level === "container") return undefined;
  try {
    const pods = await new NodeClient(io).pods();
    return pods.find(({ sandboxId }) => sandboxId === view.sandboxId);
  } catch (cause) {
    if (kindOf(cause) === "unavailable") return undefined;
    throw cause;
  }
}

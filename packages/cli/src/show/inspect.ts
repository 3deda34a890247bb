import { kindOf } from "@trine/base";
import type { PodSummary } from "@trine/engine";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { asList, printList } from "../output/print-list.ts";
import type { ListFlags } from "../output/print-list.ts";
import { PodRecords } from "../pods/pod-records.ts";
import { toPodObject } from "../pods/pod-object.ts";
import type { PodView } from "../pods/pod-view.ts";
import { readinessOf } from "../pods/pod-status.ts";
import { pickPod, requireTargets, selectPods } from "../pods/select-pods.ts";

export interface InspectFlags extends ListFlags {
  readonly selector?: string;
}

/** `trine inspect POD...`: the pod, its containers, and its machine where it has one. */
export async function inspectPods(
  io: Io,
  names: readonly string[],
  flags: InspectFlags,
): Promise<void> {
  requireTargets(names, flags.selector);
  await withCri(io, async (cri) => {
    const views = await selectPods(cri, flags, io.signal);
    const chosen = flags.selector === undefined ? names.map((name) => pickPod(views, name)) : views;
    const found: object[] = [];
    for (const view of chosen) found.push(await describe(io, view));
    const [first] = found;
    await printList(io, flags, {
      value: found.length === 1 && flags.selector === undefined ? first : asList(found),
      header: ["NAMESPACE", "POD", "LEVEL", "STATUS", "ADDRESSES", "SANDBOX", "UID", "CONTAINERS"],
      narrow: 6,
      rows: chosen.map((view) => [
        ...[view.namespace, view.name, view.level, readinessOf(view).status],
        ...[view.ips.join(" ") || "-", view.sandboxId, view.uid],
        view.containers.map(({ name, id }) => `${name}=${id}`).join(" ") || "-",
      ]),
      names: chosen.map(({ namespace, name }) => `${namespace}/${name}`),
    });
  });
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

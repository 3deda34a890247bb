import { kindOf } from "@trine/base";
import type { MachineSummary, PodSummary } from "@trine/engine";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { asList, printList } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
import { PodRecords } from "../pods/pod-records.ts";
import { toPodObject } from "../pods/pod-object.ts";
import type { PodObject } from "../pods/pod-object.ts";
import type { ContainerView, Level, PodView } from "../pods/pod-view.ts";
import { readinessOf } from "../pods/pod-status.ts";
import { pickPod, requireTargets, selectPods } from "../pods/select-pods.ts";

export interface InspectFlags extends ListFlags {
  readonly selector?: string;
}

/** A v1.Pod with all that the node knows of it. */
interface InspectedPod extends Omit<PodObject, "spec"> {
  /** Of a pod made by hand its v1.PodSpec; of others what CRI knows. */
  readonly spec: {
    readonly containers: readonly { readonly name: string; readonly [field: string]: unknown }[];
    readonly [field: string]: unknown;
  };
  readonly sandboxId: string;
  readonly addresses: readonly string[];
  readonly level: Level;
  readonly containers: readonly ContainerView[];
  /** These two of pods that the node daemon keeps, while it answers. */
  readonly shim?: { readonly pid: number; readonly version: string };
  readonly machine?: MachineSummary;
}

/** What `inspect` shows as JSON: a list unless one pod was named. */
type InspectDocument = InspectedPod | List<InspectedPod>;

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
    const found: InspectedPod[] = [];
    for (const view of chosen) found.push(await describe(io, view));
    const [first] = found;
    const isOne = found.length === 1 && flags.selector === undefined && first !== undefined;
    const value: InspectDocument = isOne ? first : asList(found);
    await printList(io, flags, {
      value,
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

async function describe(io: Io, view: PodView): Promise<InspectedPod> {
  const record = await new PodRecords(io).find(view.uid);
  const daemon = await summaryOf(io, view);
  return {
    ...toPodObject(view),
    ...(record === undefined ? {} : { spec: record.pod.spec }),
    sandboxId: view.sandboxId,
    addresses: view.ips,
    level: view.level,
    containers: view.containers,
    ...(daemon === undefined
      ? {}
      : {
          shim: daemon.shim,
          ...(daemon.machine === undefined ? {} : { machine: daemon.machine }),
        }),
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

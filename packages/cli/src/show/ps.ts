import { kindOf } from "@trine/base";
import type { PodSummary } from "@trine/engine";
import { withCri } from "../connect.ts";
import { formatAge } from "../commands/duration.ts";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { asList, printList, wantsWide } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
import type { Output } from "../output/output.ts";
import { PodRecords } from "../pods/pod-records.ts";
import type { PodRecord } from "../pods/pod-records.ts";
import { readinessOf } from "../pods/pod-status.ts";
import { toPodObject } from "../pods/pod-object.ts";
import type { PodObject } from "../pods/pod-object.ts";
import { levelOf } from "../pods/pod-view.ts";
import type { PodView } from "../pods/pod-view.ts";
import { selectPods } from "../pods/select-pods.ts";
import { parseSelector } from "../pods/selector.ts";

type Machine = NonNullable<PodSummary["machine"]>;

const MIB = 1024 * 1024;
const HEADER = ["NAMESPACE", "POD", "LEVEL", "READY", "STATUS", "RESTARTS", "AGE", "ADDRESS"];
const NAME: Output = { form: "name" };
const WIDE = ["IMAGES", "CPUS", "MEMORY", "PID", "START", "SANDBOX"];

export interface PsFlags extends ListFlags {
  readonly selector?: string;
  readonly namespace?: string;
  readonly quiet: boolean;
}

/** What `ps` shows as JSON. */
type PsDocument = List<PodObject>;

/** `trine ps` */
export async function listPods(io: Io, flags: PsFlags): Promise<void> {
  const views = await withCri(io, async (cri) => {
    const [running, records] = await Promise.all([
      selectPods(cri, flags, io.signal),
      new PodRecords(io).list(),
    ]);
    return [...running, ...withoutSandbox(running, records, flags)];
  });
  const wide = wantsWide(flags);
  const machines = wide ? await machinesOf(io, views) : new Map<string, PodSummary>();
  await printList(io, flags.quiet ? { ...flags, output: NAME } : flags, {
    value: asList(views.map(toPodObject)) satisfies PsDocument,
    header: [...HEADER, ...WIDE],
    narrow: HEADER.length,
    rows: views.map((view) => [
      ...toRow(view),
      ...(wide ? wideCells(view, machines.get(view.sandboxId)) : []),
    ]),
    names: views.map(({ namespace, name }) => `${namespace}/${name}`),
  });
}

/** A pod whose sandbox is gone, as after a reboot that lost containerd's state, is still the user's. */
function withoutSandbox(
  views: readonly PodView[],
  records: readonly PodRecord[],
  { selector, namespace }: PsFlags,
): PodView[] {
  const present = new Set(views.map(({ uid }) => uid));
  const matches = selector === undefined ? () => true : parseSelector(selector);
  return records
    .filter(({ uid, pod }) => {
      const { labels, namespace: own } = pod.metadata;
      if (present.has(uid) || !matches(labels)) return false;
      return namespace === undefined || namespace === own;
    })
    .map(({ uid, pod }) => ({
      ...pod.metadata,
      uid,
      handler: pod.spec.runtimeClassName,
      level: levelOf(pod.spec.runtimeClassName),
      sandboxId: "",
      ready: false,
      attempt: 0,
      createdAt: 0,
      ips: [],
      containers: [],
      olderSandboxes: [],
    }));
}

function toRow(view: PodView): string[] {
  const { status, running } = readinessOf(view);
  const restarts = view.containers.reduce((sum, { attempt }) => sum + attempt, 0);
  return [
    view.namespace,
    view.name,
    view.level,
    `${running}/${view.containers.length}`,
    status,
    String(restarts),
    view.createdAt === 0 ? "-" : formatAge(Date.now() - view.createdAt),
    view.ips[0] ?? "-",
  ];
}

function wideCells(view: PodView, pod: PodSummary | undefined): string[] {
  const machine = pod?.machine;
  return [
    [...new Set(view.containers.map(({ image }) => image))].join(",") || "-",
    machine === undefined ? "-" : String(machine.cpus),
    machine === undefined ? "-" : `${Math.floor(machine.memoryBytes / MIB)}Mi`,
    machine?.pid === undefined ? "-" : String(machine.pid),
    startCell(machine?.start),
    view.sandboxId.slice(0, 12) || "-",
  ];
}

/** Of a microvm's guest: clone, or cold and why. */
function startCell(start: Machine["start"]): string {
  if (start === undefined) return "-";
  return start.how === "cold" ? `cold (${start.why})` : start.how;
}

/** What the node daemon knows of machines; a node of containers alone may be without one. */
async function machinesOf(
  io: Io,
  views: readonly PodView[],
): Promise<ReadonlyMap<string, PodSummary>> {
  try {
    const pods = await new NodeClient(io).pods();
    return new Map(pods.map((pod) => [pod.sandboxId, pod]));
  } catch (cause) {
    if (kindOf(cause) !== "unavailable") throw cause;
    if (views.some(({ level }) => level !== "container")) {
      io.stderr.write("trine: the node daemon does not answer: nothing is known of machines\n");
    }
    return new Map();
  }
}

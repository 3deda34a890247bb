import type { ContainerStats } from "@trine/proto/cri/api";
import { sleep } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { asList, printList } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
import type { PodView } from "../pods/pod-view.ts";
import { pickPod, selectPods } from "../pods/select-pods.ts";

const MIB = 1024 * 1024;
const NS_PER_S = 1e9;
/** Two readings so far apart say how busy a container is. */
const INTERVAL_MS = 500;

/** What a container uses now. */
interface Usage {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** Thousandths of a processor. */
  readonly cpuMilli: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/** What `top` shows as JSON, most memory first. */
type TopDocument = List<Usage>;

export interface TopFlags extends ListFlags {
  readonly selector?: string;
  readonly namespace?: string;
}

/** `trine top [POD...]`: what containers use now, most memory first. */
export async function showUsage(io: Io, names: readonly string[], flags: TopFlags): Promise<void> {
  const items = await withCri(io, async (cri) => {
    const all = await selectPods(cri, flags, io.signal);
    const views = names.length === 0 ? all : names.map((name) => pickPod(all, name));
    const before = await statsOf(cri, io.signal);
    await sleep(INTERVAL_MS, io.signal);
    const after = await statsOf(cri, io.signal);
    return views.flatMap((view) => usageOf(view, before, after));
  });
  items.sort((a, b) => b.memoryBytes - a.memoryBytes);
  await printList(io, flags, {
    value: asList(items) satisfies TopDocument,
    header: ["NAMESPACE", "POD", "CONTAINER", "CPU", "MEMORY", "DISK"],
    narrow: 6,
    rows: items.map((item) => [
      ...[item.namespace, item.pod, item.container, `${item.cpuMilli}m`],
      ...[`${Math.ceil(item.memoryBytes / MIB)}Mi`, `${Math.ceil(item.diskBytes / MIB)}Mi`],
    ]),
    names: items.map(({ namespace, pod, container }) => `${namespace}/${pod}/${container}`),
  });
}

type Stats = ReadonlyMap<string, ContainerStats>;

async function statsOf({ runtime }: CriClient, signal: AbortSignal): Promise<Stats> {
  const { stats } = await runtime.listContainerStats({}, { signal });
  return new Map(stats.map((each) => [each.attributes?.id ?? "", each]));
}

function usageOf(view: PodView, before: Stats, after: Stats): Usage[] {
  return view.containers.flatMap(({ id, name, state }) => {
    const now = after.get(id);
    if (now === undefined || state !== "running") return [];
    return [
      {
        namespace: view.namespace,
        pod: view.name,
        container: name,
        cpuMilli: cpuMilli(before.get(id), now),
        memoryBytes: Number(now.memory?.workingSetBytes?.value ?? 0n),
        diskBytes: Number(now.writableLayer?.usedBytes?.value ?? 0n),
      },
    ];
  });
}

/** Thousandths of a processor between two readings. */
function cpuMilli(before: ContainerStats | undefined, after: ContainerStats): number {
  const used = Number(
    (after.cpu?.usageCoreNanoSeconds?.value ?? 0n) -
      (before?.cpu?.usageCoreNanoSeconds?.value ?? 0n),
  );
  const passed = Number((after.cpu?.timestamp ?? 0n) - (before?.cpu?.timestamp ?? 0n));
  if (before === undefined || passed <= 0 || used < 0) return 0;
  return Math.round((used / NS_PER_S / (passed / NS_PER_S)) * 1000);
}

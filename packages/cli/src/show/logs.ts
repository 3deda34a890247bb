import { ContainerState } from "@trine/proto/cri/api";
import { TrineError, kindOf } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import { isEnd, readLastLines, readLog } from "./cri-log.ts";
import type { Io } from "../io.ts";
import type { ContainerView, PodView } from "../pods/pod-view.ts";
import { pickContainer, pickPod, requireTargets, selectPods } from "../pods/select-pods.ts";
import { writeOut } from "../output/write-out.ts";

export interface LogsFlags {
  readonly follow: boolean;
  readonly container?: string;
  readonly allContainers: boolean;
  readonly selector?: string;
  readonly tail?: number;
  readonly since?: number;
  readonly timestamps: boolean;
  readonly previous: boolean;
  readonly prefix: boolean;
}

interface Source {
  readonly view: PodView;
  readonly container: ContainerView;
}

/** `trine logs POD...`: several at once each with its name before the line. */
export function printLogs(io: Io, names: readonly string[], flags: LogsFlags): Promise<void> {
  requireTargets(names, flags.selector);
  return withCri(io, async (cri) => {
    const views = await selectPods(cri, flags, io.signal);
    const chosen = flags.selector === undefined ? names.map((n) => pickPod(views, n)) : views;
    const sources = chosen.flatMap((view) => containersOf(view, flags));
    const [only] = sources;
    if (only === undefined) throw new TrineError("notFound", "no container to read logs of");
    const prefixed = flags.prefix || sources.length > 1;
    if (flags.follow) {
      await Promise.all(sources.map((source) => print(io, cri, source, flags, prefixed)));
    } else {
      for (const source of sources) await print(io, cri, source, flags, prefixed);
    }
  });
}

function containersOf(view: PodView, flags: LogsFlags): Source[] {
  if (!flags.allContainers) return [{ view, container: pickContainer(view, flags.container) }];
  return view.containers.map((container) => ({ view, container }));
}

async function print(
  io: Io,
  cri: CriClient,
  { view, container }: Source,
  flags: LogsFlags,
  prefixed: boolean,
): Promise<void> {
  const path = flags.previous ? previousLog(container) : container.logPath;
  if (path === "") throw new TrineError("notFound", `container ${container.name} keeps no log`);
  const follow = flags.follow && !flags.previous;
  const how = {
    signal: io.signal,
    ...(follow ? { ended: () => hasEnded(cri, container.id) } : {}),
  };
  const name = prefixed ? `[${view.namespace}/${view.name}/${container.name}] ` : "";
  const kept = flags.tail === undefined ? readLog(path, how) : readLastLines(path, flags.tail, how);
  const from = flags.since === undefined ? 0 : Date.now() - flags.since;
  let fresh = true;
  for await (const entry of kept) {
    if (from > 0 && Date.parse(entry.stamp) < from) continue;
    const head = fresh ? name + (flags.timestamps ? `${entry.stamp} ` : "") : "";
    const to = entry.stream === "stderr" ? io.stderr : io.stdout;
    await writeOut(to, head === "" ? entry.text : Buffer.concat([Buffer.from(head), entry.text]));
    fresh = isEnd(entry);
  }
}

/** The log of the container before: its file lies beside this one's. */
function previousLog({ name, attempt, logPath }: ContainerView): string {
  const match = /^(.*\/)(\d+)\.log$/.exec(logPath);
  if (match?.[1] !== undefined && attempt > 0) return `${match[1]}${attempt - 1}.log`;
  throw new TrineError("notFound", `container ${name} has not been restarted`);
}

export async function hasEnded(cri: CriClient, containerId: string): Promise<boolean> {
  try {
    const { status } = await cri.runtime.containerStatus({ containerId });
    return status?.state === ContainerState.CONTAINER_EXITED;
  } catch (cause) {
    if (kindOf(cause) === "notFound") return true;
    throw cause;
  }
}

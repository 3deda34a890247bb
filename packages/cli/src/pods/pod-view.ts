import { ContainerState, PodSandboxState } from "@trine/proto/cri/api";
import type { Container, ContainerStatus, PodSandbox } from "@trine/proto/cri/api";
import type { CriClient } from "@trine/containerd-client";
import { kindOf } from "@trine/base";

export type Level = "container" | "microvm" | "vm";

/** A container of CRI's. Times are ms since 1970, 0 = not yet. */
export interface ContainerView {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly state: "created" | "running" | "exited" | "unknown";
  readonly attempt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly logPath: string;
}

/** A pod of this node: its newest sandbox and what is in it. */
export interface PodView {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly handler: string;
  readonly level: Level;
  readonly sandboxId: string;
  readonly ready: boolean;
  readonly attempt: number;
  readonly createdAt: number;
  readonly ips: readonly string[];
  readonly containers: readonly ContainerView[];
  /** Earlier sandboxes that nobody has removed. */
  readonly olderSandboxes: readonly string[];
}

const NS_PER_MS = 1_000_000n;
/** kubelet's own labels say nothing that a person put there. */
const OWN_LABELS = /^io\.kubernetes\.(pod|container)\./;

/** All pods that CRI knows, whoever made them, by namespace and name. */
export async function listPodViews(cri: CriClient, signal: AbortSignal): Promise<PodView[]> {
  const [sandboxes, containers] = await Promise.all([
    cri.runtime.listPodSandbox({}, { signal }),
    cri.runtime.listContainers({}, { signal }),
  ]);
  const bySandbox = Map.groupBy(containers.containers, ({ podSandboxId }) => podSandboxId);
  const byPod = Map.groupBy(sandboxes.items, ({ metadata: m }) =>
    [m?.namespace, m?.name, m?.uid].join("/"),
  );
  const views = [...byPod.values()].map(async (attempts) => {
    const [newest, ...older] = attempts.sort(
      (a, b) => (b.metadata?.attempt ?? 0) - (a.metadata?.attempt ?? 0),
    );
    if (newest === undefined) return undefined;
    return viewOf(cri, newest, older, bySandbox.get(newest.id) ?? [], signal);
  });
  const found = (await Promise.all(views)).filter((view) => view !== undefined);
  return found.sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
}

async function viewOf(
  cri: CriClient,
  sandbox: PodSandbox,
  older: readonly PodSandbox[],
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<PodView | undefined> {
  const ready = sandbox.state === PodSandboxState.SANDBOX_READY;
  const [ips, views] = await Promise.all([
    ready ? addressesOf(cri, sandbox.id, signal) : [],
    Promise.all(containers.map((container) => containerView(cri, container, signal))),
  ]);
  const newest = new Map<string, ContainerView>();
  for (const view of views) {
    if (view === undefined) continue;
    if ((newest.get(view.name)?.attempt ?? -1) < view.attempt) newest.set(view.name, view);
  }
  const { metadata } = sandbox;
  return {
    namespace: metadata?.namespace ?? "",
    name: metadata?.name ?? "",
    uid: metadata?.uid ?? "",
    labels: Object.fromEntries(
      Object.entries(sandbox.labels).filter(([key]) => !OWN_LABELS.test(key)),
    ),
    annotations: sandbox.annotations,
    handler: sandbox.runtimeHandler,
    level: levelOf(sandbox.runtimeHandler),
    sandboxId: sandbox.id,
    ready,
    attempt: metadata?.attempt ?? 0,
    createdAt: toMs(sandbox.createdAt),
    ips,
    containers: [...newest.values()].sort((a, b) => compare(a.name, b.name)),
    olderSandboxes: older.map(({ id }) => id),
  };
}

export function levelOf(handler: string): Level {
  if (handler === "trine-vm") return "vm";
  return handler === "trine-microvm" || handler === "trine" ? "microvm" : "container";
}

async function addressesOf(cri: CriClient, id: string, signal: AbortSignal): Promise<string[]> {
  const status = await unlessGone(
    cri.runtime.podSandboxStatus({ podSandboxId: id }, { signal }).then((answer) => answer.status),
  );
  const network = status?.network;
  if (network === undefined || network.ip === "") return [];
  return [network.ip, ...network.additionalIps.map(({ ip }) => ip)];
}

async function containerView(
  cri: CriClient,
  container: Container,
  signal: AbortSignal,
): Promise<ContainerView | undefined> {
  const status = await unlessGone(
    cri.runtime
      .containerStatus({ containerId: container.id }, { signal })
      .then((answer) => answer.status),
  );
  return status === undefined ? undefined : toContainerView(status);
}

const STATE = {
  [ContainerState.CONTAINER_CREATED]: "created",
  [ContainerState.CONTAINER_RUNNING]: "running",
  [ContainerState.CONTAINER_EXITED]: "exited",
  [ContainerState.CONTAINER_UNKNOWN]: "unknown",
} as const;

export function toContainerView(status: ContainerStatus): ContainerView {
  return {
    id: status.id,
    name: status.metadata?.name ?? "",
    image: status.image?.userSpecifiedImage || (status.image?.image ?? ""),
    state: STATE[status.state],
    attempt: status.metadata?.attempt ?? 0,
    startedAt: toMs(status.startedAt),
    finishedAt: toMs(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    logPath: status.logPath,
  };
}

/** What went between the list and the question about it is not in the list any more. */
async function unlessGone<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

function toMs(ns: bigint): number {
  return Number(ns / NS_PER_MS);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

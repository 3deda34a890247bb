import { mkdir, writeFile } from "node:fs/promises";
import { ContainerState } from "@trine/proto/cri/api";
import { TrineError, Undo, abortError, kindOf, pollUntil } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { containerConfig, hostsFile, sandboxConfig } from "@trine/pod-spec";
import type {
  Container,
  ImageFacts,
  NodeFacts,
  SandboxConfig,
  Scope,
  VolumeHome,
} from "@trine/pod-spec";
import { ensureImages } from "./ensure-images.ts";
import { nameOf, sourcesOf } from "./pod-records.ts";
import type { PodRecord, PodRecords } from "./pod-records.ts";
import type { ContainerView, PodView } from "./pod-view.ts";
import { toContainerView } from "./pod-view.ts";
import { makeVolumes, readyMounts } from "./pod-volumes.ts";
import type { Volumes } from "./pod-volumes.ts";

/** A call that changes the runtime is let finish at ^C: only then is it known what there is to undo. */
const MUTATE = { timeoutMs: 600_000 };
const POLL_MS = 100;
/** One container may end while the next is made; that needs no listing. */
const MAX_INIT_MS = 24 * 3_600_000;

export interface Launch {
  readonly cri: CriClient;
  readonly records: PodRecords;
  readonly node: NodeFacts;
  readonly signal: AbortSignal;
  step(text: string): void;
}

interface Made {
  readonly sandboxId: string;
  readonly config: SandboxConfig;
  readonly scope: Scope;
  readonly images: ReadonlyMap<string, ImageFacts>;
  readonly volumes: Volumes;
  readonly home: VolumeHome;
  readonly hostsPath: string;
}

/** An init container that ended with an error: the pod stays as it is, for its logs. */
export interface InitFailure {
  readonly container: string;
  readonly exitCode: number;
  readonly reason: string;
}

/**
 * Starts a pod, or what is missing of one: images, sandbox, volumes, init containers in their order, then
 * the others. `present` is what runs of it. A failure or ^C takes away the sandbox this call made.
 */
export async function launchPod(
  launch: Launch,
  record: PodRecord,
  present?: PodView,
): Promise<InitFailure | undefined> {
  const undo = new Undo();
  try {
    const { pod } = record;
    const images = await ensureImages(launch, pod);
    const kept = present?.ready === true ? present : undefined;
    if (present !== undefined && kept === undefined) await removeSandboxes(launch.cri, present);
    const { sandboxId, config } = await makeSandbox(launch, record, kept, undo);
    const ips = await addressesOf(launch, sandboxId);
    const facts = { node: launch.node, uid: record.uid, ips };
    const scope: Scope = { pod, sources: sourcesOf(record), facts };
    const hostsPath = launch.records.hostsPath(record.uid);
    launch.step("preparing volumes");
    const home = launch.records.volumes(record.uid);
    const volumes = await launch.records.whileThere(record.uid, async () => {
      await writeFile(hostsPath, hostsFile(pod, ips), { mode: 0o644 });
      return makeVolumes(record, scope, home);
    });
    stopIfAborted(launch);
    const made: Made = { sandboxId, config, scope, images, volumes, home, hostsPath };
    const failure = await startContainers(launch, made, kept?.containers ?? []);
    stopIfAborted(launch);
    return failure;
  } catch (cause) {
    // --timeout leaves what there is; `trine start` goes on with it.
    if (!outOfTime(launch)) await undo.run();
    throw TrineError.during(`pod ${nameOf(record.pod)}`, cause);
  }
}

async function makeSandbox(
  launch: Launch,
  record: PodRecord,
  kept: PodView | undefined,
  undo: Undo,
): Promise<{ sandboxId: string; config: SandboxConfig }> {
  const attempt = kept?.attempt ?? record.attempts;
  const { uid, pod, cgroupParent } = record;
  const logDirectory = launch.records.logs(uid);
  const instance = { uid, attempt, logDirectory, cgroupParent };
  const config = sandboxConfig(pod, launch.node, instance);
  if (kept !== undefined) return { sandboxId: kept.sandboxId, config };

  launch.step("creating the sandbox");
  await launch.records.whileThere(uid, async () => {
    await mkdir(logDirectory, { recursive: true, mode: 0o700 });
    await launch.records.save({ ...record, attempts: attempt + 1 });
  });
  const runtimeHandler = pod.spec.runtimeClassName;
  const { runtime } = launch.cri;
  const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler }, MUTATE);
  undo.defer("sandbox", async () => {
    await runtime.stopPodSandbox({ podSandboxId }, MUTATE);
    await runtime.removePodSandbox({ podSandboxId }, MUTATE);
  });
  stopIfAborted(launch);
  return { sandboxId: podSandboxId, config };
}

/** Stops and removes all that the runtime has of a pod. */
export async function removeSandboxes(cri: CriClient, view: PodView): Promise<void> {
  for (const podSandboxId of [view.sandboxId, ...view.olderSandboxes]) {
    await cri.runtime.stopPodSandbox({ podSandboxId }, MUTATE);
    await cri.runtime.removePodSandbox({ podSandboxId }, MUTATE);
  }
}

async function addressesOf({ cri }: Launch, podSandboxId: string): Promise<string[]> {
  const { status } = await cri.runtime.podSandboxStatus({ podSandboxId });
  const ips = [
    status?.network?.ip ?? "",
    ...(status?.network?.additionalIps ?? []).map((a) => a.ip),
  ];
  return ips.filter((ip) => ip !== "");
}

async function startContainers(
  launch: Launch,
  made: Made,
  present: readonly ContainerView[],
): Promise<InitFailure | undefined> {
  const { spec } = made.scope.pod;
  const existing = new Map(present.map((container) => [container.name, container]));
  for (const container of spec.initContainers) {
    const isSidecar = container.restartPolicy === "Always";
    const before = existing.get(container.name);
    // An init container that has done its work is not asked again within one sandbox.
    if (!isSidecar && before?.state === "exited" && before.exitCode === 0) continue;
    const id = await ensureRunning(launch, made, container, before);
    if (isSidecar) continue;
    const { exitCode, reason } = await untilDone(launch, container, id);
    if (exitCode !== 0) return { container: container.name, exitCode, reason };
  }
  for (const container of spec.containers) {
    await ensureRunning(launch, made, container, existing.get(container.name));
  }
  return undefined;
}

/** Answers the container's id; one that ended is followed by a new one. */
async function ensureRunning(
  launch: Launch,
  made: Made,
  container: Container,
  before: ContainerView | undefined,
): Promise<string> {
  stopIfAborted(launch);
  if (before?.state === "running") return before.id;
  const { runtime } = launch.cri;
  launch.step(`creating container ${container.name}`);
  const mounts = await launch.records.whileThere(made.scope.facts.uid, () =>
    readyMounts(container, made.scope, made.volumes, made.home),
  );
  const image = made.images.get(container.image);
  if (image === undefined) throw new TrineError("internal", `no image for ${container.name}`);
  const config = containerConfig(container, made.scope, {
    attempt: before === undefined ? 0 : before.attempt + 1,
    mounts,
    hostsPath: made.hostsPath,
    image,
  });
  if (before !== undefined) await runtime.removeContainer({ containerId: before.id }, MUTATE);
  const { containerId } = await runtime.createContainer(
    { podSandboxId: made.sandboxId, config, sandboxConfig: made.config },
    MUTATE,
  );
  stopIfAborted(launch);
  launch.step(`starting container ${container.name}`);
  await runtime.startContainer({ containerId }, MUTATE);
  return containerId;
}

function untilDone(
  launch: Launch,
  container: Container,
  containerId: string,
): Promise<ContainerView> {
  launch.step(`waiting for init container ${container.name}`);
  const options = { ms: MAX_INIT_MS, everyMs: POLL_MS, signal: launch.signal };
  return pollUntil(`init container ${container.name}`, options, async () => {
    const { status } = await launch.cri.runtime.containerStatus({ containerId });
    return status?.state === ContainerState.CONTAINER_EXITED ? toContainerView(status) : undefined;
  });
}

function outOfTime({ signal }: Launch): boolean {
  return signal.aborted && kindOf(signal.reason) === "timeout";
}

function stopIfAborted({ signal }: Launch): void {
  if (signal.aborted) throw abortError("start", signal);
}

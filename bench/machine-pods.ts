import { TrineError } from "@trine/base";
import type { PodSummary } from "@trine/engine";
import type { RunOptions, RunningPod, TestImage, TrineNode } from "@trine/testkit";

/** Lines of the daemon's log that may hold a benchmark's launches. */
const LOG_LINES = 100_000;

export function machinePodOptions(
  name: string,
  image: TestImage,
  memoryMiB: number,
  annotations: Readonly<Record<string, string>> = {},
): RunOptions {
  return {
    name,
    image: image.name,
    annotations: { "trine.dev/memory": `${memoryMiB}Mi`, ...annotations },
  };
}

/** A pod as the daemon's API tells it. */
export async function summaryOf(
  node: TrineNode,
  pod: Pick<RunningPod, "podSandboxId">,
): Promise<PodSummary> {
  const { items } = JSON.parse((await node.api("/v1/pods")).body) as { items: PodSummary[] };
  const summary = items.find((item) => item.sandboxId === pod.podSandboxId);
  if (summary === undefined) throw new TrineError("notFound", `no pod ${pod.podSandboxId}`);
  return summary;
}

export async function machineOf(
  node: TrineNode,
  pod: Pick<RunningPod, "podSandboxId">,
): Promise<{ pid: number; consoleLog: string }> {
  const { machine } = await summaryOf(node, pod);
  if (machine?.pid === undefined) {
    throw new TrineError("wrongState", `pod ${pod.podSandboxId}: its machine does not run`);
  }
  return { pid: machine.pid, consoleLog: machine.consoleLog };
}

/** Milliseconds from each Create to the execution of its VMM, as the daemon logged them. */
export async function launchTimes(node: TrineNode): Promise<number[]> {
  const log = await node.trinedLog(LOG_LINES);
  return [...log.matchAll(/"launchMs":([0-9.]+)/g)].map((match) => Number(match[1]));
}

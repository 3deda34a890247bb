import { parseQuantity } from "@trine/base";
import type { Condition, Resources } from "@trine/kube-client";
import type { DomainSpec } from "@trine/kube-types";
import type { MachineReport, MachineSize } from "@trine/node-door";
import { guestBytes, quantityOf, topologyOf } from "./cpu-memory.ts";
import { COMPUTE } from "./networks.ts";
import { type Seen, machineStatus, reportOf } from "./seen.ts";

/** Memory of a guest grows in these steps: less is no growth. */
const STEP_BYTES = 2 * 1024 ** 2;
const ASKED = ["cpu", "memory"] as const;

type Requests = Readonly<Record<string, string>>;

/** What an instance's spec has and its guest has not yet. */
interface Growth {
  /** What the guest is to have. */
  readonly size: MachineSize;
  readonly ofCpus: boolean;
  readonly ofMemory: boolean;
}

/** Undefined: the guest has what the spec says, or it is not known what it has. */
export function growthOf(seen: Seen): Growth | undefined {
  const report = reportOf(seen);
  const bytes = guestBytes(seen.spec.domain);
  if (report === undefined || bytes === undefined) return undefined;
  const cpus = countOf(topologyOf(seen.spec.domain));
  const has = { cpus: countOf(report.cpus), memoryBytes: report.memory.guestBytes };
  const ofCpus = cpus > has.cpus;
  const ofMemory = bytes - has.memoryBytes >= STEP_BYTES;
  if (!ofCpus && !ofMemory) return undefined;
  const size = {
    cpus: Math.max(cpus, has.cpus),
    memoryBytes: Math.max(bytes, has.memoryBytes),
  };
  return { size, ofCpus, ofMemory };
}

/** What a pod's requests are for: a change that was taken back may have reached the guest before. */
export function heldDomain(domain: DomainSpec, report: MachineReport | undefined): DomainSpec {
  if (report === undefined) return domain;
  const { cpus, memory } = report;
  const hasMore = memory.guestBytes - (guestBytes(domain) ?? 0) >= STEP_BYTES;
  return {
    ...domain,
    ...(countOf(cpus) > countOf(topologyOf(domain)) && { cpu: { ...domain.cpu, ...cpus } }),
    ...(hasMore && { memory: { ...domain.memory, guest: quantityOf(memory.guestBytes) } }),
  };
}

/** Whether the guest's memory is another than the spec's, be it more or less. */
export function isOtherMemory(specBytes: number, hasBytes: number): boolean {
  return Math.abs(specBytes - hasBytes) >= STEP_BYTES;
}

function countOf(topology: {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}): number {
  return topology.sockets * topology.cores * topology.threads;
}

/** What a growth needs next. Each may be repeated: it finds the work done. */
export type GrowthStep =
  /** Requests of the container at `index` of the pod, in place. */
  | { readonly do: "resizePod"; readonly index: number; readonly requests: Requests }
  | { readonly do: "resizeGuest"; readonly size: MachineSize }
  | { readonly do: "wait"; readonly ms: number };

/** How long a guest that is asked to follow is left alone before it is looked at again. */
const LOOK_MS = 1_000;

/** First the pod's requests, then kubelet's consent, then the guest: what it has is always accounted for. */
export function growthStep(seen: Seen): GrowthStep | undefined {
  if (!isPossible(seen)) return undefined;
  const growth = growthOf(seen);
  if (growth === undefined) return takenBack(seen);
  const { attempt, now } = seen;
  if (attempt?.state === "asked") return { do: "wait", ms: LOOK_MS };
  const left = attempt === undefined ? 0 : attempt.retryAt - now.getTime();
  if (left > 0) return { do: "wait", ms: left };
  const more = requestsAbove(seen);
  if (more !== undefined) return more;
  return isGiven(seen) ? { do: "resizeGuest", size: growth.size } : undefined;
}

/** No pod can be made of what the spec says now: there is nothing to ask for, be it more or less. */
function isPossible({ asks }: Seen): boolean {
  return Object.keys(asks).length > 0;
}

function container({ pod }: Seen): { readonly index: number; readonly requests: Requests } {
  const containers = pod?.spec.containers ?? [];
  const index = containers.findIndex(({ name }) => name === COMPUTE);
  const resources = containers[index]?.["resources"] as Resources | undefined;
  return { index, requests: resources?.requests ?? {} };
}

/** What the spec asks for beyond what the pod does; what the pod has more of stays. */
function requestsAbove(seen: Seen): GrowthStep | undefined {
  const { index, requests } = container(seen);
  const more = ASKED.filter((name) => isLess(name, requests[name], seen.asks[name]));
  if (index < 0 || more.length === 0) return undefined;
  const added = Object.fromEntries(more.map((name) => [name, seen.asks[name] ?? "0"]));
  return { do: "resizePod", index, requests: { ...requests, ...added } };
}

/** A change that was taken back while kubelet has no room for it: the pod asks for what its guest has. */
function takenBack(seen: Seen): GrowthStep | undefined {
  const { index, requests } = container(seen);
  if (pending(seen) === undefined || reportOf(seen) === undefined || index < 0) return undefined;
  const less = ASKED.filter((name) => isLess(name, seen.asks[name], requests[name]));
  if (less.length === 0) return undefined;
  const lowered = Object.fromEntries(less.map((name) => [name, seen.asks[name] ?? "0"]));
  return { do: "resizePod", index, requests: { ...requests, ...lowered } };
}

/** Whether kubelet has given the container what its pod asks for. */
function isGiven(seen: Seen): boolean {
  if (pending(seen) !== undefined || condition(seen, "PodResizeInProgress") !== undefined)
    return false;
  const given = machineStatus(seen)?.resources?.requests;
  // A kubelet that says nothing of it gives what the scheduler has counted.
  if (given === undefined) return true;
  const { requests } = container(seen);
  return ASKED.every((name) => !isLess(name, given[name], requests[name]));
}

function isLess(name: string, one: string | undefined, than: string | undefined): boolean {
  return amountOf(name, one) < amountOf(name, than);
}

function amountOf(name: string, quantity: string | undefined): bigint {
  return parseQuantity(quantity ?? "0", name === "cpu" ? 1000n : 1n) ?? 0n;
}

function pending(seen: Seen): Condition | undefined {
  return condition(seen, "PodResizePending");
}

function condition({ pod }: Seen, type: string): Condition | undefined {
  return pod?.status?.conditions?.find((each) => each.type === type && each.status === "True");
}

/** How far a growth is, as a condition says it. */
interface Progress {
  readonly status: "True" | "False";
  readonly reason?: string;
  readonly message?: string;
}

export function progressOf(seen: Seen): Progress {
  if (!isPossible(seen)) {
    const message = "no machine can have what the spec says";
    return { status: "False", reason: "Refused", message };
  }
  const { attempt } = seen;
  const failure = attempt?.state === "failed" ? attempt : attempt?.failed;
  if (failure !== undefined) {
    const { reason, message } = failure;
    return { status: "False", reason, message };
  }
  const waits = pending(seen);
  if (waits !== undefined) {
    const status = waits.reason === "Infeasible" ? "False" : "True";
    return { status, reason: waits.reason ?? "Deferred", message: waits.message ?? "" };
  }
  const { reason = "", message = "" } = condition(seen, "PodResizeInProgress") ?? {};
  return reason === "" ? { status: "True" } : { status: "True", reason, message };
}

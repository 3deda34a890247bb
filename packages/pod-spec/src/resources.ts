import { parseQuantity } from "@trine/annotations";
import type { Container } from "./container-schema.ts";
import { scaled } from "./cross-checks.ts";
import type { Pod } from "./pod-schema.ts";

const PERIOD_US = 100_000n;
const MIN_QUOTA_US = 1_000n;
const MIN_SHARES = 2n;
const MAX_SHARES = 262_144n;

/** CRI's LinuxContainerResources. */
export interface LinuxResources {
  readonly cpuPeriod: bigint;
  readonly cpuQuota: bigint;
  readonly cpuShares: bigint;
  readonly memoryLimitInBytes: bigint;
  readonly oomScoreAdj: bigint;
}

export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/** The amounts of one container with Kubernetes' default: a limit is the request where that is missing. */
export function amountsOf(container: Container): {
  cpuRequestMilli: bigint;
  cpuLimitMilli: bigint;
  memoryRequest: bigint;
  memoryLimit: bigint;
} {
  const { limits, requests } = container.resources;
  const cpuLimitMilli = scaled(limits.cpu ?? "0");
  const memoryLimit = bytes(limits.memory);
  return {
    cpuLimitMilli,
    cpuRequestMilli: requests.cpu === undefined ? cpuLimitMilli : scaled(requests.cpu),
    memoryLimit,
    memoryRequest: requests.memory === undefined ? memoryLimit : bytes(requests.memory),
  };
}

/** Of all containers, init containers too (component-helpers/…/qos). */
export function qosOf(pod: Pod): QosClass {
  const all = [...pod.spec.initContainers, ...pod.spec.containers].map(amountsOf);
  const nothing = all.every((a) => a.cpuRequestMilli === 0n && a.memoryRequest === 0n);
  if (nothing) return "BestEffort";
  const whole = all.every(
    (a) =>
      a.cpuLimitMilli > 0n &&
      a.memoryLimit > 0n &&
      a.cpuLimitMilli === a.cpuRequestMilli &&
      a.memoryLimit === a.memoryRequest,
  );
  return whole ? "Guaranteed" : "Burstable";
}

/** As kubelet calculates them (kuberuntime_container_linux.go, qos/policy.go). */
export function linuxResources(pod: Pod, container: Container, nodeMemory: number): LinuxResources {
  const amounts = amountsOf(container);
  const limited = amounts.cpuLimitMilli > 0n;
  return {
    cpuShares: sharesOf(amounts.cpuRequestMilli),
    cpuPeriod: limited ? PERIOD_US : 0n,
    cpuQuota: limited ? max((amounts.cpuLimitMilli * PERIOD_US) / 1000n, MIN_QUOTA_US) : 0n,
    memoryLimitInBytes: amounts.memoryLimit,
    oomScoreAdj: BigInt(oomScoreAdj(pod, container, nodeMemory)),
  };
}

function sharesOf(milli: bigint): bigint {
  const shares = (milli * 1024n) / 1000n;
  return shares > MAX_SHARES ? MAX_SHARES : max(shares, MIN_SHARES);
}

function oomScoreAdj(pod: Pod, container: Container, nodeMemory: number): number {
  const qos = qosOf(pod);
  if (qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const own = burstableScore(amountsOf(container).memoryRequest, nodeMemory);
  if (container.restartPolicy === undefined) return own;
  // A sidecar does not go before the containers it serves.
  const theirs = pod.spec.containers.map((other) =>
    burstableScore(amountsOf(other).memoryRequest, nodeMemory),
  );
  return Math.min(own, ...theirs);
}

function burstableScore(request: bigint, nodeMemory: number): number {
  const score = 1000 - Math.trunc((1000 * Number(request)) / nodeMemory);
  // Below all BestEffort, above all Guaranteed.
  return Math.min(Math.max(score, 3), 999);
}

function bytes(quantity: string | undefined): bigint {
  return quantity === undefined ? 0n : (parseQuantity(quantity) ?? 0n);
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

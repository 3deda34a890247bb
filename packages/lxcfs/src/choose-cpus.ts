// Which CPUs a container is put on so that what counts CPUs by sched_getaffinity(2), as nproc does, agrees with its limit.
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import { isAsked } from "./choose.ts";
import type { ViewRules } from "./choose.ts";

/** For a pod, and with `.CONTAINER` behind it for one of its containers, which goes first. */
const ANNOTATION = "trine.dev/cpuset";
/** Of the kernel, where nobody says. */
const PERIOD = 100_000n;

/** How many CPUs it is to be put on; undefined: on those it has. What somebody else has given it (kubelet's CPU manager) stays. */
export function cpuCount(
  pod: PodSandbox,
  container: Pick<Container, "name">,
  resources: LinuxResources | undefined,
  rules: ViewRules,
): number | undefined {
  const { cpu } = resources ?? {};
  const [quota, period] = [cpu?.quota?.value ?? 0n, cpu?.period?.value ?? 0n];
  if (quota <= 0n || (cpu?.cpus ?? "") !== "") return undefined;
  if (!isAsked(ANNOTATION, pod, container.name, rules)) return undefined;
  const each = period > 0n ? period : PERIOD;
  return Number((quota + each - 1n) / each);
}

export interface CpuChoice {
  readonly count: number;
  /** Those its pod may run on. */
  readonly allowed: readonly number[];
  /** Of each CPU, how many containers are on it. */
  readonly used: ReadonlyMap<number, number>;
  /** Those it has now: work that runs there stays, as far as it may. */
  readonly held: readonly number[];
}

/** Least used first, and of those alike the lowest; all that are allowed where as many or more are wanted. */
export function chooseCpus({ count, allowed, used, held }: CpuChoice): number[] {
  const rank = (cpu: number): number => used.get(cpu) ?? 0;
  const isHeld = (cpu: number): boolean => held.includes(cpu);
  return [...allowed]
    .sort(
      (one, other) =>
        Number(isHeld(other)) - Number(isHeld(one)) || rank(one) - rank(other) || one - other,
    )
    .slice(0, Math.max(1, count))
    .sort((one, other) => one - other);
}

import { messageOf, formatCpuList, parseCpuList } from "@trine/base";
import type { NriLog } from "@trine/nri";
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import { chooseCpus, cpuCount } from "./choose-cpus.ts";
import type { ViewRules } from "./choose.ts";
import { CpuRecord } from "./cpu-record.ts";

export interface CpuSetsOptions {
  readonly rules: ViewRules;
  /** Where choices are kept: a daemon that starts anew goes on with them. */
  readonly file: string;
  /** CPUs of the pod with this cgroup. */
  readonly allowed: (cgroupParent: string) => readonly number[];
  readonly log: NriLog;
}

/**
 * Puts containers on as many CPUs as their limit comes to. `source` says who tells of a container: NRI, or a back end of the
 * gateway. A CPU set that somebody else gives, as kubelet's static CPU manager does, is left alone from then on.
 */
export class CpuSets {
  readonly #options: CpuSetsOptions;
  readonly #record: CpuRecord;
  /** Sets that others gave, by container: they count as used. */
  readonly #others = new Map<string, readonly number[]>();
  readonly #keys = new Map<string, string>();

  constructor(options: CpuSetsOptions) {
    this.#options = options;
    this.#record = CpuRecord.open(options.file, (cause) => {
      options.log.warn({ file: options.file, err: messageOf(cause) }, "CPU sets: begun anew");
    });
  }

  /** For one that is about to be made, as cpuset(7) writes it; undefined: as it was asked for. */
  offer(source: string, pod: PodSandbox, container: Container): string | undefined {
    return this.#quietly(pod, container, () => this.#offer(source, pod, container));
  }

  /** One without an id when it was offered is made. */
  made(containerId: string, pod: PodSandbox, container: Pick<Container, "name">): void {
    this.#keys.set(containerId, keyOf(pod, container));
  }

  /** For one whose limits change to `wanted`; undefined: its CPUs stay as they are, or become what is asked for. */
  resized(
    source: string,
    pod: PodSandbox,
    container: Container,
    wanted: LinuxResources | undefined,
  ): string | undefined {
    return this.#quietly(pod, container, () => this.#resized(source, pod, container, wanted));
  }

  #offer(source: string, pod: PodSandbox, container: Container): string | undefined {
    const resources = container.linux?.resources;
    const key = keyOf(pod, container);
    this.#note(container, key);
    const count = cpuCount(pod, container, resources, this.#options.rules);
    const before = this.#record.get(key);
    const held = before?.cpus ?? "";
    const cpus = count === undefined ? undefined : this.#choose(key, pod, { count, held });
    if (cpus === undefined) this.#record.drop(key);
    else this.#record.set(key, { source, cpus });
    return cpus;
  }

  #resized(
    source: string,
    pod: PodSandbox,
    container: Container,
    wanted: LinuxResources | undefined,
  ): string | undefined {
    const key = keyOf(pod, container);
    const now = cpusOf(container.linux?.resources);
    const before = this.#record.get(key);
    const isTaken = now !== "" && now !== before?.cpus && now !== before?.earlier;
    if (isTaken || cpusOf(wanted) !== "") {
      this.#record.drop(key);
      this.#others.set(container.id, parseCpuList(cpusOf(wanted) || now));
      return undefined;
    }
    const quota = wanted?.cpu?.quota?.value ?? 0n;
    if (quota === 0n) return undefined; // not what changes
    const count = cpuCount(pod, container, wanted, this.#options.rules);
    // A set that is there cannot be taken back: all CPUs are one too.
    const isSet = now !== "" || before !== undefined;
    const wish = { count: count ?? Number.POSITIVE_INFINITY, held: now || (before?.cpus ?? "") };
    const cpus = this.#choose(key, pod, wish, isSet);
    if (cpus === undefined) return undefined;
    this.#record.set(key, { source, cpus, ...(now !== "" && { earlier: now }) });
    return cpus;
  }

  /** All the containers that one source has: of what it has not, choices are let go. */
  synchronized(
    source: string,
    all: readonly { readonly pod: PodSandbox; readonly container: Container }[],
  ): void {
    const there = new Set<string>();
    for (const { pod, container } of all) {
      const key = keyOf(pod, container);
      there.add(key);
      this.#note(container, key);
      const now = cpusOf(container.linux?.resources);
      const choice = this.#record.get(key);
      if (choice === undefined || choice.cpus === now) continue;
      // A change that was under way when we ended, or somebody else's set.
      if (choice.earlier === now) this.#record.set(key, { source, cpus: now });
      else this.#record.drop(key);
    }
    this.#record.keep(source, there);
  }

  removed(containerId: string): void {
    this.#others.delete(containerId);
    const key = this.#keys.get(containerId);
    this.#keys.delete(containerId);
    // The next attempt of the same container may be there already.
    if (key !== undefined && ![...this.#keys.values()].includes(key)) this.#record.drop(key);
  }

  #note(container: Container, key: string): void {
    if (container.id !== "") this.#keys.set(container.id, key);
    const now = cpusOf(container.linux?.resources);
    const choice = this.#record.get(key);
    const isOurs = choice?.cpus === now || choice?.earlier === now;
    if (now === "" || isOurs) this.#others.delete(container.id);
    else this.#others.set(container.id, parseCpuList(now));
  }

  /** What cannot be chosen or kept leaves a container as it is: no CPU set is worth a pod. */
  #quietly(
    pod: PodSandbox,
    { name }: Container,
    work: () => string | undefined,
  ): string | undefined {
    try {
      return work();
    } catch (cause) {
      const fields = { pod: `${pod.namespace}/${pod.name}`, container: name };
      this.#options.log.warn({ ...fields, err: messageOf(cause) }, "its CPUs are as asked for");
      return undefined;
    }
  }

  /** Undefined where none is needed: it may have all of its pod's. */
  #choose(
    key: string,
    pod: PodSandbox,
    { count, held }: { readonly count: number; readonly held: string },
    isSet = false,
  ): string | undefined {
    const allowed = this.#options.allowed(pod.linux?.cgroupParent ?? "");
    if (count >= allowed.length && !isSet) return undefined;
    const used = new Map<number, number>();
    const sets = [...this.#others.values(), ...this.#record.othersThan(key)];
    for (const cpu of sets.flat()) used.set(cpu, (used.get(cpu) ?? 0) + 1);
    return formatCpuList(chooseCpus({ count, allowed, used, held: parseCpuList(held) }));
  }
}

/** The same for each attempt of a container, and known before it has an id. */
function keyOf(pod: PodSandbox, { name }: Pick<Container, "name">): string {
  return `${pod.id}/${name}`;
}

function cpusOf(resources: LinuxResources | undefined): string {
  return formatCpuList(parseCpuList(resources?.cpu?.cpus ?? ""));
}

import { messageOf, formatCpuList, parseCpuList } from "@trine/base";
import type { NriLog } from "@trine/nri";
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import { chooseCpus, cpuCount } from "./choose-cpus.ts";
import type { ViewRules } from "./choose.ts";
import { CpuRecord } from "./cpu-record.ts";
import type { CpuChoices } from "./cpu-record.ts";

export interface CpuSetsOptions {
  readonly rules: ViewRules;
  /** Where choices are kept: a daemon that starts anew goes on with them. */
  readonly file: string;
  /** CPUs of the pod with this cgroup. */
  readonly allowed: (cgroupParent: string) => readonly number[];
  readonly log: NriLog;
}

/** A container that is there. */
interface There {
  readonly pod: PodSandbox;
  readonly container: Container;
}

/** One that is there, of which no more is known. */
interface ThereByName {
  readonly pod: Pick<PodSandbox, "id">;
  readonly container: Pick<Container, "name">;
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
  /** Creations without an id that were offered CPUs, by key, and are not known to be made or to have failed. */
  readonly #offered = new Map<string, number>();

  constructor(options: CpuSetsOptions) {
    this.#options = options;
    this.#record = CpuRecord.open(options.file, (cause) => {
      options.log.warn({ file: options.file, err: messageOf(cause) }, "CPU sets: begun anew");
    });
  }

  /** For one that is about to be made, as cpuset(7) writes it; undefined: as it was asked for. */
  offer(source: string, pod: PodSandbox, container: Container): string | undefined {
    return this.#quietly(nameOf(pod, container), () => this.#offer(source, pod, container));
  }

  /** One without an id when it was offered is made. */
  made(containerId: string, pod: PodSandbox, container: Pick<Container, "name">): void {
    const key = keyOf(pod, container);
    this.#keys.set(containerId, key);
    this.#offered.delete(key);
  }

  /** One that was offered CPUs is not made, and will not be. */
  refused(pod: PodSandbox, container: Pick<Container, "name">): void {
    const key = keyOf(pod, container);
    const others = (this.#offered.get(key) ?? 0) - 1;
    if (others > 0) this.#offered.set(key, others);
    else this.#offered.delete(key);
    this.#letGo(key);
  }

  /** One as it is now: what somebody else gave it counts as used. */
  seen(pod: PodSandbox, container: Container): void {
    this.#quietly(nameOf(pod, container), () => {
      this.#note(container, keyOf(pod, container));
    });
  }

  /** For one whose limits change to `wanted`; undefined: its CPUs stay as they are, or become what is asked for. */
  resized(
    source: string,
    pod: PodSandbox,
    container: Container,
    wanted: LinuxResources | undefined,
  ): string | undefined {
    const work = (): string | undefined => this.#resized(source, pod, container, wanted);
    return this.#quietly(nameOf(pod, container), work);
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
    if (cpus !== undefined && container.id === "") {
      this.#offered.set(key, (this.#offered.get(key) ?? 0) + 1);
    }
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
      const theirs = cpusOf(wanted) || now;
      this.#others.set(container.id, parseCpuList(theirs));
      this.#taken(key, { pod, container }, theirs);
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
  synchronized(source: string, all: readonly There[]): void {
    this.synchronizing(source)(all);
  }

  /**
   * The same where the source is asked one container after the other: from here on. `known` are there too, but could not be or were
   * not asked about.
   */
  synchronizing(source: string): (all: readonly There[], known?: readonly ThereByName[]) => void {
    const since = this.#record.choices;
    return (all, known = []) => {
      for (const each of all) {
        this.#quietly(nameOf(each.pod, each.container), () => {
          this.#settle(source, each, since);
        });
      }
      const named = [...all, ...known].map(({ pod, container }) => keyOf(pod, container));
      // Others may have been made while it was asked.
      const inUse = new Set([...named, ...this.#offered.keys(), ...this.#keys.values()]);
      this.#quietly({ source }, () => {
        this.#record.keep((key, of) => of.source !== source || inUse.has(key));
      });
    };
  }

  removed(containerId: string): void {
    this.#others.delete(containerId);
    const key = this.#keys.get(containerId);
    this.#keys.delete(containerId);
    if (key !== undefined) this.#letGo(key);
  }

  /** Nothing is made in this pod any more. */
  podRemoved(podId: string): void {
    const isIts = (key: string): boolean => key.startsWith(`${podId}/`);
    for (const key of [...this.#offered.keys()].filter(isIts)) this.#offered.delete(key);
    this.#quietly({ pod: podId }, () => {
      this.#record.keep((key) => !isIts(key));
    });
  }

  /** Unless the next attempt of the same container is there already, or on its way. */
  #letGo(key: string): void {
    if (this.#offered.has(key) || [...this.#keys.values()].includes(key)) return;
    this.#quietly({ container: key }, () => {
      this.#record.drop(key);
    });
  }

  #settle(source: string, { pod, container }: There, since: CpuChoices): void {
    const key = keyOf(pod, container);
    this.#note(container, key);
    const now = cpusOf(container.linux?.resources);
    const choice = this.#record.get(key);
    if (choice === undefined || choice.cpus === now) return;
    if (choice !== since.get(key)) return; // chosen after it was looked at
    // A change that was under way when we ended, or somebody else's set.
    if (choice.earlier === now) this.#record.set(key, { source, cpus: now });
    else this.#taken(key, { pod, container }, now);
  }

  #taken(key: string, { pod, container }: There, cpus: string): void {
    if (cpus !== "") {
      const fields = { ...nameOf(pod, container), cpus };
      this.#options.log.info(fields, "its CPUs are somebody else's choice: they are left alone");
    }
    this.#record.drop(key);
  }

  #note(container: Container, key: string): void {
    if (container.id === "") return; // it is seen once it is made
    this.#keys.set(container.id, key);
    const now = cpusOf(container.linux?.resources);
    const choice = this.#record.get(key);
    const isOurs = choice?.cpus === now || choice?.earlier === now;
    if (now === "" || isOurs) this.#others.delete(container.id);
    else this.#others.set(container.id, parseCpuList(now));
  }

  /** What cannot be chosen or kept leaves a container as it is: no CPU set is worth a pod. */
  #quietly<T>(fields: object, work: () => T): T | undefined {
    try {
      return work();
    } catch (cause) {
      this.#options.log.warn({ ...fields, err: messageOf(cause) }, "CPUs are left as they are");
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
function keyOf(pod: Pick<PodSandbox, "id">, { name }: Pick<Container, "name">): string {
  return `${pod.id}/${name}`;
}

function nameOf(
  pod: PodSandbox,
  { name }: Pick<Container, "name">,
): { readonly pod: string; readonly container: string } {
  return { pod: `${pod.namespace}/${pod.name}`, container: name };
}

function cpusOf(resources: LinuxResources | undefined): string {
  return formatCpuList(parseCpuList(resources?.cpu?.cpus ?? ""));
}

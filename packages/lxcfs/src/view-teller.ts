import type { NriLog } from "@trine/nri";

/** A pod as the API server names it. */
interface PodName {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What the owner of a pod is to know, as an event of Kubernetes has it. */
export interface ViewHappening {
  readonly pod: PodName;
  readonly type: "Normal" | "Warning";
  readonly reason: "LxcfsMissed" | "LxcfsLost" | "LxcfsViews" | "LxcfsFailed";
  readonly message: string;
}

/** A container that is told of. */
export interface ToldOf {
  readonly pod: PodName;
  readonly name: string;
  /** Why it got no views the last time. */
  why?: string | undefined;
  /** It is without its views, or has them for the first time: that it has them then is news. */
  isOut?: boolean;
}

export interface ViewCounts {
  /** Times that lxcfs came (back). */
  readonly starts: number;
  /** Containers given the files of another lxcfs, and attempts that failed. */
  readonly healed: number;
  readonly failed: number;
  /** Containers that were created without, as lxcfs was away. */
  readonly missed: number;
}

/** Says what happens to views: in the log, in figures, and to the pods' owners. */
export class ViewTeller {
  readonly #log: NriLog;
  readonly #onHappening: (happening: ViewHappening) => void;
  #counts = { starts: 0, healed: 0, failed: 0, missed: 0 };

  constructor(log: NriLog, onHappening: (happening: ViewHappening) => void = () => undefined) {
    this.#log = log;
    this.#onHappening = onHappening;
  }

  get counts(): ViewCounts {
    return { ...this.#counts };
  }

  up(fields: { pid: number; dir: string; containers: number; ms: number }): void {
    this.#counts.starts += 1;
    this.#log.info({ event: "LxcfsUp", ...fields }, "lxcfs serves");
  }

  /** With the containers that have its files. */
  lost(pid: number, why: string, having: Iterable<readonly [id: string, of: ToldOf]>): void {
    this.#log.warn({ event: "LxcfsLost", pid, why }, "lxcfs does not serve any more");
    for (const [, of] of having) {
      const { pod, name } = of;
      of.isOut = true;
      const message = `container ${name}: what it reads of its limits in /proc fails until lxcfs is back (${why})`;
      this.#onHappening({ pod, type: "Warning", reason: "LxcfsLost", message });
    }
  }

  missed(id: string, of: ToldOf): void {
    of.isOut = true;
    this.#counts.missed += 1;
    const what =
      "lxcfs does not run: the container starts without its views, and gets them when lxcfs is back";
    this.#log.warn({ event: "LxcfsMissed", ...named(id, of) }, what);
    const message = `container ${of.name} sees the node's CPUs and memory in /proc until lxcfs is back`;
    this.#onHappening({ pod: of.pod, type: "Warning", reason: "LxcfsMissed", message });
  }

  healed(id: string, of: ToldOf): void {
    const isNews = of.isOut === true;
    delete of.why;
    delete of.isOut;
    this.#counts.healed += 1;
    this.#log.info({ event: "LxcfsViews", ...named(id, of) }, "the container has its views");
    if (!isNews) return;
    const message = `container ${of.name} sees its own limits in /proc again`;
    this.#onHappening({ pod: of.pod, type: "Normal", reason: "LxcfsViews", message });
  }

  /** Told once for each reason: it is tried again and again. */
  failed(id: string, of: ToldOf, why: string): void {
    this.#counts.failed += 1;
    const isNews = why !== of.why;
    of.why = why;
    of.isOut = true;
    if (!isNews) return;
    this.#log.warn({ event: "LxcfsFailed", ...named(id, of), why }, "no views; tried again");
    const message = `container ${of.name} cannot be given its views of /proc: ${why}; it is tried again`;
    this.#onHappening({ pod: of.pod, type: "Warning", reason: "LxcfsFailed", message });
  }
}

function named(id: string, { pod, name }: ToldOf): { id: string; pod: string; container: string } {
  return { id, pod: `${pod.namespace}/${pod.name}`, container: name };
}

import { SerialQueue, messageOf, sleep } from "@trine/base";
import type { AddedMount, NriLog } from "@trine/nri";
import type { Container, Mount, PodSandbox } from "@trine/proto/nri";
import { bindViews } from "./bind-views.ts";
import type { Bound, Stuck, Target } from "./bind-views.ts";
import { isView, mountsFor, viewsFor } from "./choose.ts";
import type { ViewRules } from "./choose.ts";
import { isMounted, isSame, runningInstance } from "./instance.ts";
import type { Instance } from "./instance.ts";

/** How soon a lost or new lxcfs is noticed. */
const LOOK_MS = 100;
/** How often it is asked whether it answers still: one that hangs holds up whoever reads its files, runc too. */
const CHECK_MS = 3_000;
/** The helper has this long for all containers of the node, and lxcfs for its answers. */
const BIND_MS = 2_000;
/** One that runs and does not serve is asked again after this long at most, containers that got no views as well. */
const RETRY_MS = 5_000;

export interface ViewsOptions {
  /** Where lxcfs is mounted. */
  readonly dir: string;
  /** What lxcfs writes its process id to. */
  readonly pidFile: string;
  /** trine-rootfs */
  readonly helper: string;
  readonly rules: ViewRules;
  readonly log: NriLog;
}

/** For metrics and readers of them. */
export interface ViewsState {
  readonly up: boolean;
  /** Containers that have the views. */
  readonly containers: number;
  /** Of them, those whose files are of an lxcfs that is gone. */
  readonly stale: number;
  /** Times that lxcfs came (back). */
  readonly starts: number;
  /** Containers given the files of another lxcfs, and attempts that failed. */
  readonly healed: number;
  readonly failed: number;
  /** Containers that were created without, as lxcfs was away. */
  readonly missed: number;
}

/** What a container is to be made with. */
interface Offer {
  readonly mounts: readonly AddedMount[];
  /** It is made, with this id. */
  readonly keep: (id: string) => void;
}

/** A container that is to have views. */
interface Viewed {
  readonly pod: string;
  readonly name: string;
  readonly files: readonly string[];
  pid: number;
  /** The lxcfs whose files it has. */
  of: Instance | undefined;
  /** Why it got none the last time. */
  why?: string;
}

/**
 * Gives containers their own view of limits, and again after each loss of lxcfs. Never in the way of a container. Who makes the
 * containers tells of them: NRI, and the gateway for back ends without it.
 */
export class Views {
  readonly #options: ViewsOptions;
  readonly #containers = new Map<string, Viewed>();
  readonly #binding = new SerialQueue();
  readonly #over = new AbortController();
  readonly #watching: Promise<void>;
  /** That which answered, with what it serves. */
  #instance: Instance | undefined;
  #files: readonly string[] = [];
  #said: string | undefined;
  /** When the next attempt is due, by performance.now(), and how long after it the one that follows. */
  #due = 0;
  #pause = LOOK_MS;
  #checkDue = 0;
  readonly #stuck: Stuck = new Set();
  #counts = { starts: 0, healed: 0, failed: 0, missed: 0 };
  #willHeal = false;

  constructor(options: ViewsOptions) {
    this.#options = options;
    this.#watching = this.#watch();
  }

  state(): ViewsState {
    const all = [...this.#containers.values()];
    return {
      up: this.#alive() !== undefined,
      containers: all.filter(({ of }) => of !== undefined).length,
      stale: all.filter(({ of }) => of !== undefined && !isSame(of, this.#instance)).length,
      ...this.#counts,
    };
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#watching;
  }

  /** For one that is about to be made; undefined where it is to see the node. */
  offer(pod: PodSandbox, container: Container): Offer | undefined {
    const viewed = this.#viewed(pod, container);
    if (viewed === undefined) return undefined;
    viewed.of = isMounted(this.#options.dir) ? this.#alive() : undefined;
    const { dir } = this.#options;
    const files =
      viewed.of === undefined ? [] : viewed.files.filter((file) => this.#files.includes(file));
    const keep = (id: string): void => {
      this.#containers.set(id, viewed);
      if (viewed.of !== undefined) return;
      this.#counts.missed += 1;
      this.#options.log.warn(
        { event: "LxcfsMissed", ...named(id, viewed) },
        "lxcfs does not run: the container starts without its views, and gets them when lxcfs is back",
      );
    };
    return { mounts: mountsFor(dir, files), keep };
  }

  /**
   * One as it is now: its first process, 0 before there is one, and its limits. Views follow the cgroup by themselves; a container
   * whose first limit this is gets them now.
   */
  seen(pod: PodSandbox, container: Container): void {
    const viewed = this.#containers.get(container.id) ?? this.#viewed(pod, container);
    if (viewed === undefined) return;
    this.#containers.set(container.id, viewed);
    if (container.pid !== 0) viewed.pid = container.pid;
    if (viewed.pid !== 0 && !isSame(viewed.of, this.#instance)) this.#healSoon();
  }

  removed(containerId: string): void {
    this.#containers.delete(containerId);
  }

  #viewed(pod: PodSandbox, container: Container): Viewed | undefined {
    const { dir, rules } = this.#options;
    // One that is found again has ours among its mounts: what it was given stays its, whatever the rules say today.
    const isOurs = ({ source, destination }: Mount): boolean =>
      source.startsWith(`${dir}/`) && isView(destination);
    const given = container.mounts.filter(isOurs).map(({ destination }) => destination);
    const mounts = container.mounts.filter((mount) => !isOurs(mount));
    const files = new Set([...given, ...viewsFor(pod, { ...container, mounts }, rules)]);
    if (files.size === 0) return undefined;
    return {
      pod: `${pod.namespace}/${pod.name}`,
      ...{ name: container.name, files: [...files], pid: container.pid, of: undefined },
    };
  }

  /** The lxcfs that answered, if its process is still there. */
  #alive(): Instance | undefined {
    const now = runningInstance(this.#options.pidFile);
    return now !== undefined && isSame(now, this.#instance) ? now : undefined;
  }

  async #watch(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const now = runningInstance(this.#options.pidFile);
      const isDue = performance.now() >= this.#due;
      if (!isSame(now, this.#instance) && (isDue || this.#instance !== undefined)) {
        await this.#binding.run(() => this.#change(now));
      } else if (isDue && this.#waiting().length > 0) {
        this.#due = performance.now() + RETRY_MS;
        this.#healSoon();
      } else if (this.#instance !== undefined && performance.now() >= this.#checkDue) {
        await this.#binding.run(() => this.#check());
      }
      await sleep(LOOK_MS, this.#over.signal).catch(() => undefined); // it only fails when we stop
    }
  }

  async #change(now: Instance | undefined): Promise<void> {
    const { log, dir } = this.#options;
    this.#lose("it is gone");
    if (now === undefined) return;
    try {
      const begun = performance.now();
      const bound = await this.#bind(now);
      [this.#instance, this.#files, this.#said] = [now, bound.files, undefined];
      this.#counts.starts += 1;
      this.#checkDue = performance.now() + CHECK_MS;
      const ms = Math.round(performance.now() - begun);
      const containers = bound.outcomes.size;
      log.info({ event: "LxcfsUp", pid: now.pid, dir, containers, ms }, "lxcfs serves");
    } catch (cause) {
      const why = messageOf(cause);
      if (why !== this.#said) log.warn({ dir, why }, "lxcfs runs and does not serve yet");
      this.#said = why;
      this.#askAgain(this.#pause);
    }
  }

  /** It runs; that it answers only reading its files tells, which is the helper's part. */
  async #check(): Promise<void> {
    const { helper, dir } = this.#options;
    try {
      await bindViews(helper, dir, [], BIND_MS, this.#stuck);
    } catch (cause) {
      this.#lose(messageOf(cause));
    }
    this.#checkDue = performance.now() + CHECK_MS;
  }

  #lose(why: string): void {
    if (this.#instance === undefined) return;
    const { pid } = this.#instance;
    this.#options.log.warn({ event: "LxcfsLost", pid, why }, "lxcfs does not serve any more");
    this.#instance = undefined;
    this.#askAgain(0);
  }

  /** Once more after so long; from 0 the pauses grow anew. */
  #askAgain(ms: number): void {
    this.#due = performance.now() + ms;
    this.#pause = Math.min(Math.max(ms, LOOK_MS) * 2, RETRY_MS);
  }

  /** Once for all that are told of together. */
  #healSoon(): void {
    if (this.#willHeal) return;
    this.#willHeal = true;
    void this.#binding.run(async () => {
      this.#willHeal = false;
      const instance = this.#alive();
      if (instance === undefined) return; // its return heals all
      await this.#bind(instance).catch((cause: unknown) => {
        this.#options.log.warn({ err: messageOf(cause) }, "views could not be given");
      });
    });
  }

  /** Gives the files of `instance` to all running containers that have not got them. */
  async #bind(instance: Instance): Promise<Bound> {
    const { helper, dir } = this.#options;
    const bound = await bindViews(helper, dir, this.#waiting(instance), BIND_MS, this.#stuck);
    for (const [id, why] of bound.outcomes) {
      const viewed = this.#containers.get(id);
      if (viewed !== undefined) this.#tell(id, viewed, instance, why);
    }
    return bound;
  }

  #tell(id: string, viewed: Viewed, instance: Instance, why: string | undefined): void {
    const { log } = this.#options;
    if (why === undefined) {
      viewed.of = instance;
      delete viewed.why;
      this.#counts.healed += 1;
      log.info({ event: "LxcfsViews", ...named(id, viewed) }, "the container has its views");
      return;
    }
    this.#counts.failed += 1;
    if (why !== viewed.why) {
      log.warn({ event: "LxcfsFailed", ...named(id, viewed), why }, "no views; tried again");
    }
    viewed.why = why;
  }

  /** Running containers that have not got the files of this lxcfs. */
  #waiting(instance = this.#instance): Target[] {
    if (instance === undefined) return [];
    return [...this.#containers]
      .filter(([, { pid, of }]) => pid > 0 && !isSame(of, instance))
      .map(([id, { pid, files }]) => ({ id, pid, files }));
  }
}

function named(id: string, { pod, name }: Viewed): { id: string; pod: string; container: string } {
  return { id, pod, container: name };
}

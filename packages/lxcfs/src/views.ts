import { SerialQueue, messageOf, sleep } from "@trine/base";
import type { AddedMount, NriLog } from "@trine/nri";
import type { Container, Mount, PodSandbox } from "@trine/proto/nri";
import { bindViews } from "./bind-views.ts";
import type { Bound, Stuck, Target } from "./bind-views.ts";
import { isView, mountsFor, viewsFor } from "./choose.ts";
import type { ViewRules } from "./choose.ts";
import { isMounted, isSame, runningInstance } from "./instance.ts";
import type { Instance } from "./instance.ts";
import { ViewTeller } from "./view-teller.ts";
import type { ToldOf, ViewCounts, ViewHappening } from "./view-teller.ts";

/** How soon a lost or new lxcfs is noticed. */
const LOOK_MS = 100;
/** How often it is asked whether it answers still: one that hangs holds up whoever reads its files, runc too. */
const CHECK_MS = 3_000;
/** The helper has this long for all containers of the node, and lxcfs for its answers. */
const BIND_MS = 2_000;
/** One that runs and does not serve is asked again after this long at most, containers that got no views at first. */
const RETRY_MS = 5_000;
/** And after this long at most: each attempt at one whose own mounts hang leaves a process that hangs with them. */
const LAST_RETRY_MS = 600_000;

export interface ViewsOptions {
  /** Where lxcfs is mounted. */
  readonly dir: string;
  /** What lxcfs writes its process id to. */
  readonly pidFile: string;
  /** trine-rootfs */
  readonly helper: string;
  readonly rules: ViewRules;
  readonly log: NriLog;
  /** The first pause of a container that got no views; default: 5 s. */
  readonly retryMs?: number;
  /** What a pod's owner is told, beside the log. */
  readonly onHappening?: ((happening: ViewHappening) => void) | undefined;
}

/** For metrics and readers of them. */
export interface ViewsState extends ViewCounts {
  readonly up: boolean;
  /** Containers that have the views. */
  readonly containers: number;
  /** Of them, those whose files are of an lxcfs that is gone. */
  readonly stale: number;
}

/** What a container is to be made with. */
interface Offer {
  readonly mounts: readonly AddedMount[];
  /** It is made, with this id. */
  readonly keep: (id: string) => void;
}

/** A container that is to have views. */
interface Viewed extends ToldOf {
  readonly files: readonly string[];
  pid: number;
  /** The lxcfs whose files it has. */
  of: Instance | undefined;
  /** That which it was last tried with, and when it may be tried with that again, by performance.now(). */
  tried?: { readonly with: Instance; readonly pauseMs: number; readonly due: number } | undefined;
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
  readonly #teller: ViewTeller;
  #willHeal = false;

  constructor(options: ViewsOptions) {
    this.#options = options;
    this.#teller = new ViewTeller(options.log, options.onHappening);
    this.#watching = this.#watch();
  }

  state(): ViewsState {
    const all = [...this.#containers.values()];
    return {
      up: this.#alive() !== undefined,
      containers: all.filter(({ of }) => of !== undefined).length,
      stale: all.filter(({ of }) => of !== undefined && !isSame(of, this.#instance)).length,
      ...this.#teller.counts,
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
      if (viewed.of === undefined) this.#teller.missed(id, viewed);
    };
    return { mounts: mountsFor(dir, files), keep };
  }

  /**
   * One as it is now: its first process, 0 before there is one, and its limits. Views follow the cgroup by themselves; a container
   * whose first limit this is gets them now. `isChanged`: it has just been started or changed; others are found as they have been.
   */
  seen(pod: PodSandbox, container: Container, isChanged = false): void {
    const known = this.#containers.get(container.id);
    const viewed = known ?? this.#viewed(pod, container);
    if (viewed === undefined) return;
    if (known === undefined) viewed.isOut = this.#isNews(container, isChanged);
    this.#containers.set(container.id, viewed);
    if (container.pid !== 0) viewed.pid = container.pid;
    delete viewed.tried; // it is another now
    if (viewed.pid !== 0 && !isSame(viewed.of, this.#instance)) this.#healSoon();
  }

  removed(containerId: string): void {
    this.#containers.delete(containerId);
  }

  /** Whether its owner wants to know when one that is new to us has its views: what is found most often has had them. */
  #isNews({ mounts }: Container, isChanged: boolean): boolean {
    if (runningInstance(this.#options.pidFile) === undefined) return true;
    return isChanged && !mounts.some((mount) => this.#isOurs(mount));
  }

  #isOurs({ source, destination }: Mount): boolean {
    return source.startsWith(`${this.#options.dir}/`) && isView(destination);
  }

  #viewed(pod: PodSandbox, container: Container): Viewed | undefined {
    const { rules } = this.#options;
    // One that is found again has ours among its mounts: what it was given stays its, whatever the rules say today.
    const isOurs = (mount: Mount): boolean => this.#isOurs(mount);
    const given = container.mounts.filter(isOurs).map(({ destination }) => destination);
    const mounts = container.mounts.filter((mount) => !isOurs(mount));
    const files = new Set([...given, ...viewsFor(pod, { ...container, mounts }, rules)]);
    if (files.size === 0) return undefined;
    return {
      pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid },
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
        this.#due = performance.now() + (this.#options.retryMs ?? RETRY_MS);
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
      this.#checkDue = performance.now() + CHECK_MS;
      const ms = Math.round(performance.now() - begun);
      this.#teller.up({ pid: now.pid, dir, containers: bound.outcomes.size, ms });
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
    const having = [...this.#containers].filter(([, { of }]) => isSame(of, this.#instance));
    this.#teller.lost(this.#instance.pid, why, having);
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
    if (why === undefined) {
      viewed.of = instance;
      delete viewed.tried;
      this.#teller.healed(id, viewed);
      return;
    }
    const { retryMs = RETRY_MS } = this.#options;
    const pauseMs = Math.min((viewed.tried?.pauseMs ?? retryMs / 2) * 2, LAST_RETRY_MS);
    viewed.tried = { with: instance, pauseMs, due: performance.now() + pauseMs };
    this.#teller.failed(id, viewed, why);
  }

  /** Running containers that have not got the files of this lxcfs, but for those it was tried with in vain a short while ago. */
  #waiting(instance = this.#instance): Target[] {
    if (instance === undefined) return [];
    const now = performance.now();
    return [...this.#containers]
      .filter(([, { pid, of }]) => pid > 0 && !isSame(of, instance))
      .filter(([, { tried }]) => !isSame(tried?.with, instance) || now >= (tried?.due ?? 0))
      .map(([id, { pid, files }]) => ({ id, pid, files }));
  }
}

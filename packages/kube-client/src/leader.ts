import { TrineError, kindOf, sleep } from "@trine/base";
import { LEASES, type Lease } from "./control-kinds.ts";
import type { KubeApi } from "./kube-api.ts";
import type { Stored } from "./object.ts";

interface LeaderOptions {
  readonly namespace: string;
  /** Of the lease. */
  readonly name: string;
  /** Who we are: another one in each process. */
  readonly identity: string;
  /** A lease that nobody renews may be taken after this time. */
  readonly leaseMs?: number;
  /** A leader that could not renew for this time stops; well before the lease may be taken. */
  readonly renewDeadlineMs?: number;
  readonly retryMs?: number;
  /** Of a renewal or a look at the lease that failed; it is tried again. */
  readonly onProblem: (cause: unknown) => void;
}

interface Times {
  readonly leaseMs: number;
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
}

/** The lease as it was when it last changed, and when we saw that, by our own clock. */
interface Observed {
  readonly version: string;
  readonly lease: Stored<Lease>;
  readonly atMs: number;
}

/**
 * One leader among many processes, by a Lease. Clocks are not compared: a lease is over when we have seen it unchanged
 * for its whole time. A leader that cannot renew stops before another may begin, but a process that was suspended may
 * still write for a moment: writes have preconditions of their own.
 */
export class Leader {
  readonly #api: KubeApi;
  readonly #options: LeaderOptions;
  readonly #times: Times;
  #observed: Observed | undefined;
  #isLeading = false;

  constructor(api: KubeApi, options: LeaderOptions) {
    const { leaseMs = 15_000, renewDeadlineMs = 10_000, retryMs = 2_000 } = options;
    if (!(retryMs < renewDeadlineMs && renewDeadlineMs < leaseMs)) {
      throw new TrineError("invalid", "leader: retry < renew deadline < lease, in time");
    }
    this.#api = api;
    this.#options = options;
    this.#times = { leaseMs, renewDeadlineMs, retryMs };
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  /** Who holds the lease, as last seen. */
  get holder(): string | undefined {
    return this.#observed?.lease.spec?.holderIdentity;
  }

  /**
   * Waits for the lease and calls `lead`, whose signal aborts when the lease is lost or `signal` aborts; then waits for
   * it to end, and for the lease again. Rejects when `lead` does; a lead that ends well before is an error too.
   */
  async run(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
    while (!signal.aborted) {
      const since = await this.#untilOurs(signal);
      if (since !== undefined) await this.#lead(since, signal, lead);
    }
  }

  /** Answers by our clock when the lease was ours; nothing when `signal` aborted. */
  async #untilOurs(signal: AbortSignal): Promise<number | undefined> {
    while (!signal.aborted) {
      const since = await this.#tryOnce(signal);
      if (since !== undefined) return since;
      const jitter = 0.8 + 0.4 * Math.random();
      await sleep(this.#times.retryMs * jitter, signal).catch(() => undefined);
    }
    return undefined;
  }

  async #lead(
    since: number,
    signal: AbortSignal,
    lead: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const lost = new AbortController();
    const both = AbortSignal.any([signal, lost.signal]);
    this.#isLeading = true;
    const renewing = this.#renew(since, both, lost);
    // Who renews no more does not lead.
    renewing.catch((cause: unknown) => {
      lost.abort(cause);
    });
    try {
      await lead(both);
      if (!isOver(both)) throw new TrineError("internal", "leader: its work ended by itself");
    } catch (cause) {
      if (!isOver(both) || kindOf(cause) !== "canceled") throw cause;
    } finally {
      lost.abort(new TrineError("canceled", "leader: stopped"));
      await renewing;
      this.#isLeading = false;
      await this.#release();
    }
  }

  /** Renews until the signal aborts; aborts `lost` when that was not possible for too long. */
  async #renew(since: number, signal: AbortSignal, lost: AbortController): Promise<void> {
    let renewed = since;
    while (!signal.aborted) {
      const left = renewed + this.#times.renewDeadlineMs - performance.now();
      if (left <= 0) {
        lost.abort(new TrineError("canceled", "leader: the lease could not be renewed"));
        return;
      }
      await sleep(Math.min(this.#times.retryMs, left), signal).catch(() => undefined);
      if (isOver(signal)) return;
      const time = Math.ceil(renewed + this.#times.renewDeadlineMs - performance.now());
      const late = AbortSignal.timeout(Math.max(1, time));
      renewed = (await this.#tryOnce(AbortSignal.any([signal, late]))) ?? renewed;
      if (this.holder !== this.#options.identity) {
        lost.abort(new TrineError("canceled", `leader: ${this.holder ?? "nobody"} has the lease`));
      }
    }
  }

  /** Takes or renews the lease where that may be; answers when we asked for it, by our clock. */
  async #tryOnce(signal: AbortSignal): Promise<number | undefined> {
    const askedMs = performance.now();
    try {
      const before = await this.#look(signal);
      if (before === undefined) {
        this.#observe(await this.#api.create(LEASES, this.#fresh(), { signal }));
        return askedMs;
      }
      if (!this.#mayTake(before, askedMs)) return undefined;
      this.#observe(await this.#api.update(LEASES, this.#renewed(before), { signal }));
      return askedMs;
    } catch (cause) {
      if (isRace(cause) || signal.aborted) return undefined;
      this.#options.onProblem(cause);
      return undefined;
    }
  }

  async #look(signal: AbortSignal): Promise<Stored<Lease> | undefined> {
    const { namespace, name } = this.#options;
    try {
      const lease = await this.#api.get(LEASES, { namespace, name }, signal);
      this.#observe(lease);
      return lease;
    } catch (cause) {
      if (kindOf(cause) === "notFound") return undefined;
      throw cause;
    }
  }

  #observe(lease: Stored<Lease>): void {
    const version = lease.metadata.resourceVersion;
    if (this.#observed?.version === version) return;
    this.#observed = { version, lease, atMs: performance.now() };
  }

  #mayTake({ spec = {} }: Stored<Lease>, nowMs: number): boolean {
    const { holderIdentity = "", leaseDurationSeconds = 0 } = spec;
    if (holderIdentity === "" || holderIdentity === this.#options.identity) return true;
    const seconds = Math.min(Math.max(leaseDurationSeconds, 1), 3600);
    return this.#observed !== undefined && nowMs >= this.#observed.atMs + seconds * 1000;
  }

  #fresh(): Lease {
    const { namespace, name, identity } = this.#options;
    const now = microTime();
    return {
      metadata: { namespace, name },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: this.#leaseSeconds(),
        acquireTime: now,
        renewTime: now,
        leaseTransitions: 0,
      },
    };
  }

  #renewed(before: Stored<Lease>): Lease {
    const { spec = {} } = before;
    const now = microTime();
    const isNew = spec.holderIdentity !== this.#options.identity;
    return {
      ...before,
      spec: {
        ...spec,
        holderIdentity: this.#options.identity,
        leaseDurationSeconds: this.#leaseSeconds(),
        acquireTime: isNew ? now : (spec.acquireTime ?? now),
        renewTime: now,
        leaseTransitions: (spec.leaseTransitions ?? 0) + (isNew ? 1 : 0),
      },
    };
  }

  #leaseSeconds(): number {
    return Math.max(1, Math.round(this.#times.leaseMs / 1000));
  }

  /** Gives the lease back, so that the next need not wait. Nothing depends on it. */
  async #release(): Promise<void> {
    const { lease } = this.#observed ?? {};
    if (lease?.spec?.holderIdentity !== this.#options.identity) return;
    const spec = {
      ...lease.spec,
      holderIdentity: "",
      leaseDurationSeconds: 1,
      renewTime: microTime(),
    };
    try {
      const signal = AbortSignal.timeout(this.#times.retryMs);
      this.#observe(await this.#api.update(LEASES, { ...lease, spec }, { signal }));
    } catch (cause) {
      if (!isRace(cause)) this.#options.onProblem(cause);
    }
  }
}

/** Whether it has aborted by now, which may be another answer than before an `await`. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Another one was faster. */
function isRace(cause: unknown): boolean {
  const kind = kindOf(cause);
  return kind === "conflict" || kind === "alreadyExists";
}

function microTime(): string {
  return `${new Date().toISOString().slice(0, 23)}000Z`;
}

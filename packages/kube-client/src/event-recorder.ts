import { createHash, randomBytes } from "node:crypto";
import { TrineError, kindOf } from "@trine/base";
import { EVENTS, type KubeEvent } from "./control-kinds.ts";
import type { KubeApi } from "./kube-api.ts";
import type { Stored } from "./object.ts";
import { TokenBuckets } from "./token-buckets.ts";
import { WorkQueue } from "./work-queue.ts";

/** What happened to an object: the cause, and what its user can do. */
export interface Happening {
  readonly type: "Normal" | "Warning";
  /** One word in CamelCase, always the same for the same thing. */
  readonly reason: string;
  readonly message: string;
}

interface RecorderOptions {
  /** Who tells: `trine-control`. */
  readonly component: string;
  /** Which process of it. */
  readonly instance: string;
  /** Of an event that was not written and will not be. */
  readonly onProblem: (cause: unknown) => void;
}

interface Entry {
  readonly event: KubeEvent;
  count: number;
  lastTimestamp: string;
  tries: number;
  isWritten: boolean;
}

/** Events that are remembered, to count them up. */
const MAX_ENTRIES = 4096;
const MAX_WAITING = 1024;
const MAX_TRIES = 5;
const MAX_MESSAGE = 1024;
/** Of one object: so many at once, then one each five minutes. */
const BURST = 25;
const REFILL_MS = 300_000;

/** Writes events in the background. The same one again is counted up; an object that has too many is left out for a while. */
export class EventRecorder {
  readonly #api: Pick<KubeApi, "create" | "patch">;
  readonly #options: RecorderOptions;
  /** In the order they last happened. */
  readonly #entries = new Map<string, Entry>();
  readonly #buckets = new TokenBuckets({ burst: BURST, refillMs: REFILL_MS, max: MAX_ENTRIES });
  readonly #queue = new WorkQueue({
    // What fails for good is told by the writer.
    onFailure: () => undefined,
    backoff: { baseMs: 500, capMs: 10_000 },
  });

  constructor(api: Pick<KubeApi, "create" | "patch">, options: RecorderOptions) {
    this.#api = api;
    this.#options = options;
  }

  /** Takes it down; it is written soon, or not at all where there is too much of it. */
  record(object: Stored, happening: Happening): void {
    const { waiting, later } = this.#queue.size;
    if (!this.#buckets.take(object.metadata.uid)) return;
    if (waiting + later >= MAX_WAITING) {
      const what = `event ${happening.reason} of ${object.kind} ${object.metadata.name}`;
      this.#options.onProblem(new TrineError("exhausted", `${what}: too many are waiting`));
      return;
    }
    const key = keyFor(object, happening);
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const entry = this.#entries.get(key) ?? this.#fresh(object, happening, now);
    entry.count += 1;
    entry.lastTimestamp = now;
    entry.tries = 0;
    this.#remember(key, entry);
    this.#queue.add(key);
  }

  /** Writes until `signal` aborts. */
  run(signal: AbortSignal): Promise<void> {
    return this.#queue.run(
      1,
      async (key) => {
        await this.#write(key, signal);
        return "settled";
      },
      signal,
    );
  }

  async #write(key: string, signal: AbortSignal): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    try {
      await this.#send(entry, signal);
    } catch (cause) {
      entry.tries += 1;
      if (mayPass(cause) && entry.tries < MAX_TRIES) throw cause;
      this.#entries.delete(key);
      this.#options.onProblem(cause);
    }
  }

  async #send(entry: Entry, signal: AbortSignal): Promise<void> {
    const { event, count, lastTimestamp } = entry;
    if (entry.isWritten && (await this.#countUp(entry, signal))) return;
    await this.#api
      .create(EVENTS, { ...event, count, lastTimestamp }, { signal })
      .catch((cause: unknown) => {
        // An earlier try whose answer was lost.
        if (kindOf(cause) !== "alreadyExists") throw cause;
      });
    entry.isWritten = true;
  }

  /** Whether it is still there: the API server keeps events for an hour. */
  async #countUp({ event, count, lastTimestamp }: Entry, signal: AbortSignal): Promise<boolean> {
    const { namespace = "", name = "" } = event.metadata ?? {};
    const operations = [
      { op: "replace", path: "/count", value: count },
      { op: "replace", path: "/lastTimestamp", value: lastTimestamp },
    ] as const;
    try {
      await this.#api.patch(EVENTS, { namespace, name }, operations, { signal });
      return true;
    } catch (cause) {
      if (kindOf(cause) === "notFound") return false;
      throw cause;
    }
  }

  #remember(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const oldest = this.#entries.keys().next().value;
    if (this.#entries.size > MAX_ENTRIES && oldest !== undefined) this.#entries.delete(oldest);
  }

  #fresh(object: Stored, { type, reason, message }: Happening, now: string): Entry {
    const { component, instance } = this.#options;
    const { apiVersion, kind, metadata } = object;
    const { namespace, name, uid, resourceVersion } = metadata;
    const own = { apiVersion, kind, name, uid, resourceVersion };
    const event: KubeEvent = {
      metadata: {
        // Events of what is in no namespace are kept there.
        namespace: namespace ?? "default",
        name: `${name.slice(0, 220)}.${randomBytes(8).toString("hex")}`,
      },
      involvedObject: namespace === undefined ? own : { ...own, namespace },
      type,
      reason,
      message: cut(message),
      source: { component },
      reportingComponent: component,
      reportingInstance: instance,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    return { event, count: 0, lastTimestamp: now, tries: 0, isWritten: false };
  }
}

function keyFor({ metadata }: Stored, { type, reason, message }: Happening): string {
  return createHash("sha256")
    .update(JSON.stringify([metadata.uid, type, reason, message]))
    .digest("base64");
}

function cut(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE - 2)} …`;
}

function mayPass(cause: unknown): boolean {
  return ["unavailable", "timeout", "exhausted", "unauthenticated"].includes(kindOf(cause));
}

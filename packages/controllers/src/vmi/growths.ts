import { type ErrorKind, kindOf, messageOf } from "@trine/base";
import type { MachineSize } from "@trine/node-door";

/** So long after a failure a growth is tried again; a guest that cannot follow holds its machine up each time, and is left alone for longer and longer. */
const RETRY_MS = { first: 30_000, longest: 600_000 };

/** What stands against a growth. */
interface Failure {
  readonly reason: "GuestNotFollowing" | "NodeUnavailable" | "Refused";
  readonly message: string;
}

/** How the last try to let a machine grow to what its spec says has gone; undefined: there was none. */
export type Attempt =
  | {
      readonly state: "asked";
      /** Of the try before: so it is until this one has gone better. */
      readonly failed?: Failure;
    }
  | (Failure & {
      readonly state: "failed";
      /** In ms since the epoch. */
      readonly retryAt: number;
    });

/** Of one size of one instance. */
interface Entry {
  readonly uid: string;
  readonly to: string;
  /** Times that the guest has not followed. */
  readonly deaf: number;
  readonly attempt: Attempt;
}

/**
 * Tries to let machines grow. A guest takes its time to follow, and its node's door as long to answer: nobody waits for it here.
 * Nothing of it outlives the process: who comes next looks at what the guest has, and tries again.
 */
export class Growths {
  readonly #now: () => Date;
  /** By the instance's key. */
  readonly #entries = new Map<string, Entry>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Another size than the one that was tried is tried at once. */
  of(key: string, uid: string, to: MachineSize | undefined): Attempt | undefined {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    const isItsOwn = found.uid === uid;
    if (isItsOwn && found.to === textOf(to)) return found.attempt;
    // A try that is under way ends by itself; what it leaves is seen.
    if (isItsOwn && found.attempt.state === "asked") return { state: "asked" };
    this.#entries.delete(key);
    return undefined;
  }

  begin(key: string, uid: string, to: MachineSize, work: Promise<void>): void {
    const { attempt, deaf = 0 } = this.#before(key, uid, to) ?? {};
    const failed =
      attempt?.state === "failed"
        ? { failed: { reason: attempt.reason, message: attempt.message } }
        : {};
    const entry: Entry = { uid, to: textOf(to), deaf, attempt: { state: "asked", ...failed } };
    this.#entries.set(key, entry);
    // What was forgotten meanwhile says nothing of whoever came in its place.
    const isStill = (): boolean => this.#entries.get(key) === entry;
    work.then(
      () => isStill() && this.#entries.delete(key),
      (cause: unknown) => {
        if (isStill()) this.failed(key, uid, to, cause);
      },
    );
  }

  failed(key: string, uid: string, to: MachineSize, cause: unknown): void {
    const reason = reasonOf(kindOf(cause));
    const isDeaf = reason === "GuestNotFollowing";
    const deaf = (this.#before(key, uid, to)?.deaf ?? 0) + (isDeaf ? 1 : 0);
    const { first, longest } = RETRY_MS;
    const waitMs = isDeaf ? Math.min(first * 2 ** (deaf - 1), longest) : first;
    const retryAt = this.#now().getTime() + waitMs;
    const attempt = { state: "failed", reason, message: messageOf(cause), retryAt } as const;
    this.#entries.set(key, { uid, to: textOf(to), deaf, attempt });
  }

  /** What was tried counts no more. */
  forget(key: string): void {
    this.#entries.delete(key);
  }

  #before(key: string, uid: string, to: MachineSize): Entry | undefined {
    const found = this.#entries.get(key);
    return found?.uid === uid && found.to === textOf(to) ? found : undefined;
  }
}

function textOf(to: MachineSize | undefined): string {
  return to === undefined ? "" : `${to.cpus} ${to.memoryBytes}`;
}

function reasonOf(kind: ErrorKind): Failure["reason"] {
  if (kind === "timeout") return "GuestNotFollowing";
  return kind === "unavailable" || kind === "canceled" ? "NodeUnavailable" : "Refused";
}

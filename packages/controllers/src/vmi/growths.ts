import { type ErrorKind, kindOf, messageOf } from "@trine/base";
import type { MachineSize } from "@trine/node-door";

/** So long after a failure a growth is tried again. */
const RETRY_MS = 30_000;

/** How the last try to let a machine grow to what its spec says has gone; undefined: there was none. */
export type Attempt =
  | { readonly state: "asked" }
  | {
      readonly state: "failed";
      readonly reason: string;
      readonly message: string;
      /** In ms since the epoch. */
      readonly retryAt: number;
    };

/**
 * Tries to let machines grow. A guest takes its time to follow, and its node's door as long to answer: nobody waits for it here.
 * Nothing of it outlives the process: who comes next looks at what the guest has, and tries again.
 */
export class Growths {
  readonly #now: () => Date;
  /** By the instance's key. */
  readonly #attempts = new Map<string, { readonly to: string; readonly attempt: Attempt }>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** Another size than the one that was tried is tried at once. */
  of(key: string, uid: string, to: MachineSize | undefined): Attempt | undefined {
    const found = this.#attempts.get(key);
    if (found === undefined) return undefined;
    if (found.to === textOf(uid, to)) return found.attempt;
    // A try that is under way ends by itself; what it leaves is seen.
    if (found.attempt.state === "failed") this.#attempts.delete(key);
    return found.attempt.state === "asked" ? found.attempt : undefined;
  }

  begin(key: string, uid: string, to: MachineSize, work: Promise<void>): void {
    this.#attempts.set(key, { to: textOf(uid, to), attempt: { state: "asked" } });
    work.then(
      () => this.#attempts.delete(key),
      (cause: unknown) => {
        this.failed(key, uid, to, cause);
      },
    );
  }

  failed(key: string, uid: string, to: MachineSize, cause: unknown): void {
    const retryAt = this.#now().getTime() + RETRY_MS;
    const words = { reason: reasonOf(kindOf(cause)), message: messageOf(cause) };
    this.#attempts.set(key, {
      to: textOf(uid, to),
      attempt: { state: "failed", ...words, retryAt },
    });
  }

  forget(key: string): void {
    this.#attempts.delete(key);
  }
}

function textOf(uid: string, to: MachineSize | undefined): string {
  return to === undefined ? "" : `${uid} ${to.cpus} ${to.memoryBytes}`;
}

function reasonOf(kind: ErrorKind): string {
  if (kind === "timeout") return "GuestNotFollowing";
  return kind === "unavailable" || kind === "canceled" ? "NodeUnavailable" : "Refused";
}

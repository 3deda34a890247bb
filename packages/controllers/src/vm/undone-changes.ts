import type { Seen } from "./seen.ts";

const AGAIN_MS = 60_000;

/** What was written, by whom, and until when it is left alone. */
interface Undone {
  readonly of: string;
  readonly untilMs: number;
}

/**
 * Changes of instances that somebody (a mutating webhook of another's) undid as they were written. They are tried again after a
 * while, not as fast as the API server tells of the instance; another change of the machine is tried at once.
 */
export class UndoneChanges {
  readonly #undone = new Map<string, Undone>();

  /** After a change was written: `seen` has the instance as it is then. Answers how long it is left alone, if that did nothing. */
  wrote(key: string, seen: Seen): number | undefined {
    if (seen.change.kind !== "live") {
      this.#undone.delete(key);
      return undefined;
    }
    this.#undone.set(key, { of: changeOf(seen), untilMs: seen.now.getTime() + AGAIN_MS });
    return AGAIN_MS;
  }

  /** Of a change that is to be written; zero: now. */
  leftMs(key: string, seen: Seen): number {
    const undone = this.#undone.get(key);
    if (undone?.of !== changeOf(seen)) return 0;
    return Math.max(undone.untilMs - seen.now.getTime(), 0);
  }

  forget(key: string): void {
    this.#undone.delete(key);
  }
}

function changeOf({ vm, vmi }: Seen): string {
  return `${vmi?.metadata.uid ?? ""} ${vm.metadata.generation ?? 0}`;
}

import { TrineError } from "@trine/base";

/** Hands out the user ids machines run as: one each, so that no machine can touch another's files. */
export class UidPool {
  readonly #base: number;
  readonly #count: number;
  readonly #taken = new Map<number, string>();

  constructor(range: { base: number; count: number }) {
    this.#base = range.base;
    this.#count = range.count;
  }

  /** The id `owner` has, or the lowest free one. */
  take(owner: string): number {
    for (const [uid, by] of this.#taken) if (by === owner) return uid;
    for (let uid = this.#base; uid < this.#base + this.#count; uid += 1) {
      if (!this.#taken.has(uid)) {
        this.#taken.set(uid, owner);
        return uid;
      }
    }
    throw new TrineError(
      "exhausted",
      `all ${this.#count} machine user ids from ${this.#base} are in use: raise machines.uidCount`,
    );
  }

  /** Notes an id that a machine found at start already has. */
  adopt(uid: number, owner: string): void {
    this.#taken.set(uid, owner);
  }

  /** The same for an owner that is known less well: whoever has the id already keeps it. */
  note(uid: number, owner: string): void {
    if (!this.#taken.has(uid)) this.#taken.set(uid, owner);
  }

  /** Whether it is one of those that are handed out. */
  covers(uid: number): boolean {
    return uid >= this.#base && uid < this.#base + this.#count;
  }

  release(owner: string): void {
    for (const [uid, by] of this.#taken) if (by === owner) this.#taken.delete(uid);
  }
}

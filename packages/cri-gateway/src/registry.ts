import { TrineError, kindOf, quote } from "@trine/base";
import type { Effect } from "./methods.ts";
import { bytesField, itemsAt, mapAt, messageAt, numberAt, numberField, stringAt } from "./wire.ts";

export type ObjectKind = "sandbox" | "container";

/** One object as its back end last showed it. */
export interface Known {
  readonly id: string;
  readonly backEnd: string;
  /** Its item of the list: an encoded PodSandbox or Container, with what calls have changed appended. */
  readonly record: Buffer;
  /** When it was so, in the registry's own count: a list tells of when it was asked for. */
  readonly at: number;
}

/** An answer to a list without a filter, and when it was asked for. */
interface Unread {
  readonly kind: ObjectKind;
  readonly backEnd: string;
  readonly answer: Buffer;
  readonly token: number;
}

/** One answer to a list that is read as it passes. */
interface ListReading {
  readonly since: number;
}

/** Field numbers of the lists' items and of their filters' parts. */
const FIELDS = {
  sandbox: { state: 3, labels: 5, filterLabels: 3, pod: undefined },
  container: { state: 6, labels: 8, filterLabels: 4, pod: 2 },
} as const;
/** Values of PodSandboxState and ContainerState. */
const STATES = {
  sandbox: { started: 0, stopped: 1 },
  container: { started: 1, stopped: 2 },
} as const;
export const SANDBOX_READY = 0;
/** A back end that does not answer a list within this counts as dead for it: the others' pods are wanted too. */
export const LIST_MS = 10_000;

/** Which back end has which sandbox, container and image, and how each last looked. In memory: lists rebuild it. */
export class Registry {
  readonly #objects = {
    sandbox: new Map<string, Known>(),
    container: new Map<string, Known>(),
  };
  /** Removed while a list was under way that may still show them, and when. */
  readonly #removed = new Map<string, number>();
  /** Back ends whose whole list has been seen, as `kind name`. */
  readonly #complete = new Set<string>();
  /** The newest whole list of each, as `kind name`, until somebody wants to know what is in it. */
  readonly #unread = new Map<string, Unread>();
  /** Lists that are on their way, and read as they pass: since when, by performance.now(). */
  readonly #reading = new Map<string, ListReading>();
  /** Answers to ListImages, by back end. */
  readonly #images = new Map<string, Buffer>();
  #count = 0;

  /** Taken before a list is asked for: what happens after is newer than the list. */
  token(): number {
    this.#count += 1;
    return this.#count;
  }

  /**
   * A whole list, asked for at `token`. It is not read before something in it is wanted: kubelet asks for lists each second, and
   * hardly ever for more than what is known already.
   */
  replace(kind: ObjectKind, backEnd: string, answer: Buffer, token: number): void {
    const key = `${kind} ${backEnd}`;
    const before = this.#unread.get(key);
    if (before !== undefined && before.token > token) return;
    this.#unread.set(key, { kind, backEnd, answer, token });
  }

  /** Reads the lists that have come since. */
  #read(): void {
    for (const [key, unread] of this.#unread) {
      this.#unread.delete(key);
      try {
        this.#replace(unread);
      } catch (cause) {
        // Garbage within a list: its client sees that itself, and what was known stays.
        if (kindOf(cause) !== "malformed") throw cause;
      }
    }
  }

  #replace({ kind, backEnd, answer, token }: Unread): void {
    const objects = this.#objects[kind];
    const listed = new Map(itemsAt(answer, 1).map((item) => [stringAt(item, 1), item]));
    for (const known of objects.values()) {
      const isOld = known.backEnd === backEnd && known.at <= token;
      if (isOld && !listed.has(known.id)) objects.delete(known.id);
    }
    for (const [id, item] of listed) this.#learn(kind, { id, backEnd, record: item }, token);
    this.#complete.add(`${kind} ${backEnd}`);
  }

  /** One object; `token` of the list it is from, absent = as it is now. */
  learn(kind: ObjectKind, backEnd: string, record: Buffer, token = Number.POSITIVE_INFINITY): void {
    this.#learn(kind, { id: stringAt(record, 1), backEnd, record }, token);
  }

  /** Undefined while the list of this key is being read already, by one whose client is not too slow to wait for. */
  startReading(key: string, now = performance.now()): ListReading | undefined {
    const before = this.#reading.get(key);
    if (before !== undefined && now < before.since + LIST_MS) return undefined;
    const reading = { since: now };
    this.#reading.set(key, reading);
    return reading;
  }

  /** By who began it: another may have taken its place. */
  endReading(key: string, reading: ListReading): void {
    if (this.#reading.get(key) === reading) this.#reading.delete(key);
  }

  /** What a successful call has done to an object. */
  apply(kind: ObjectKind, id: string, effect: Effect): void {
    this.#read();
    const known = this.#objects[kind].get(id);
    if (effect === "removed") this.#remove(kind, id);
    else if (known !== undefined) this.#setState(kind, known, effect);
    if (kind !== "sandbox" || effect === "started") return;
    for (const container of this.containersOf(id)) this.apply("container", container.id, effect);
  }

  /** By id or by the unique beginning of one. Kind `invalid` when it begins several. */
  find(kind: ObjectKind, id: string): Known | undefined {
    const objects = this.#objects[kind];
    const exact = objects.get(id);
    if (exact !== undefined || id === "") return exact;
    this.#read();
    const listed = objects.get(id);
    if (listed !== undefined) return listed;
    const found = [...objects.values()].filter((known) => known.id.startsWith(id));
    if (found.length <= 1) return found[0];
    throw new TrineError("invalid", `${kind} id ${quote(id)} begins ${found.length} of them`);
  }

  /** The items of a back end's last list; undefined while there was none. `filter`: that of the list's request. */
  list(kind: ObjectKind, backEnd: string, filter: Uint8Array): Buffer[] | undefined {
    this.#read();
    if (!this.#complete.has(`${kind} ${backEnd}`)) return undefined;
    return [...this.#objects[kind].values()]
      .filter((known) => known.backEnd === backEnd && isWanted(kind, known.record, filter))
      .map(({ record }) => record);
  }

  /** All that is known of a back end, whether its whole list has been seen or not. */
  known(kind: ObjectKind, backEnd: string): Known[] {
    this.#read();
    return [...this.#objects[kind].values()].filter((each) => each.backEnd === backEnd);
  }

  /** Sandboxes with these metadata, by their key. */
  sandboxesOf(key: string): Known[] {
    this.#read();
    return [...this.#objects.sandbox.values()].filter(
      ({ record }) => metadataKey(messageAt(record, 2)) === key,
    );
  }

  containersOf(sandboxId: string): Known[] {
    this.#read();
    return [...this.#objects.container.values()].filter(
      ({ record }) => stringAt(record, 2) === sandboxId,
    );
  }

  setImages(backEnd: string, answer: Buffer): void {
    this.#images.set(backEnd, answer);
  }

  /** A back end's images as last listed; `name`: only those that bear it. */
  images(backEnd: string, name: string): readonly Buffer[] | undefined {
    const answer = this.#images.get(backEnd);
    if (answer === undefined) return undefined;
    const items = itemsAt(answer, 1);
    return name === "" ? items : items.filter((item) => imageNames(item).includes(name));
  }

  #learn(kind: ObjectKind, object: Omit<Known, "at">, token: number): void {
    const { id, backEnd, record } = object;
    const isNewer = (at: number | undefined): boolean => at !== undefined && at > token;
    if (id === "" || isNewer(this.#removed.get(id))) return;
    const before = this.#objects[kind].get(id);
    if (isNewer(before?.at)) return;
    // A copy: the item would keep the whole list it lies in. Of what is as it was there is one.
    const isSame = before?.record.equals(record) === true;
    const kept = isSame ? before.record : Buffer.from(record);
    const at = Number.isFinite(token) ? token : this.token();
    this.#objects[kind].set(id, { id, backEnd, record: kept, at });
  }

  #setState(kind: ObjectKind, known: Known, effect: "started" | "stopped"): void {
    const state = numberField(FIELDS[kind].state, STATES[kind][effect]);
    this.learn(kind, known.backEnd, Buffer.concat([known.record, state]));
  }

  #remove(kind: ObjectKind, id: string): void {
    this.#count += 1;
    this.#objects[kind].delete(id);
    this.#removed.delete(id);
    this.#removed.set(id, this.#count);
    // Far more than are removed while one list is under way.
    const [oldest] = this.#removed.keys();
    if (this.#removed.size > 4096 && oldest !== undefined) this.#removed.delete(oldest);
  }
}

/** What makes a sandbox the same one in a repeated request: a PodSandboxMetadata's name, namespace, uid, attempt. */
export function metadataKey(metadata: Uint8Array): string {
  const [name, uid, namespace] = [1, 2, 3].map((field) => stringAt(metadata, field));
  return JSON.stringify([name, namespace, uid, numberAt(metadata, 4)]);
}

/** An image's id, tags and digests. */
function imageNames(image: Uint8Array): string[] {
  return [1, 2, 3].flatMap((field) => itemsAt(image, field).map(String));
}

/** The record of a sandbox that has just been made of this configuration, until a list shows its own. */
export function sandboxRecord(id: string, config: Uint8Array, handler: string): Buffer {
  return Buffer.concat([
    bytesField(1, id),
    bytesField(2, messageAt(config, 1)),
    numberField(3, SANDBOX_READY),
    numberField(4, Date.now() * 1e6),
    ...itemsAt(config, 6).map((label) => bytesField(5, label)),
    ...itemsAt(config, 7).map((annotation) => bytesField(6, annotation)),
    bytesField(7, handler),
  ]);
}

/** The same of a container, by its ContainerConfig. */
export function containerRecord(id: string, sandboxId: string, config: Uint8Array): Buffer {
  return Buffer.concat([
    bytesField(1, id),
    bytesField(2, sandboxId),
    bytesField(3, messageAt(config, 1)),
    bytesField(4, messageAt(config, 2)),
    bytesField(5, stringAt(config, 2, 1)),
    numberField(7, Date.now() * 1e6),
    ...itemsAt(config, 9).map((label) => bytesField(8, label)),
    ...itemsAt(config, 10).map((annotation) => bytesField(9, annotation)),
  ]);
}

function isWanted(kind: ObjectKind, record: Uint8Array, filter: Uint8Array): boolean {
  const fields = FIELDS[kind];
  if (!stringAt(record, 1).startsWith(stringAt(filter, 1))) return false;
  if (fields.pod !== undefined && !stringAt(record, fields.pod).startsWith(stringAt(filter, 3))) {
    return false;
  }
  const hasState = itemsAt(filter, 2).length > 0;
  if (hasState && numberAt(filter, 2, 1) !== numberAt(record, fields.state)) return false;
  const labels = mapAt(record, fields.labels);
  return [...mapAt(filter, fields.filterLabels)].every(([key, value]) => labels.get(key) === value);
}

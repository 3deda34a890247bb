import { TrineError } from "@trine/base";
import type { Cache, ChangeListener, Indices } from "./cache.ts";
import { deepFreeze } from "./freeze.ts";
import { type KubeObject, type Stored, keyOf } from "./object.ts";

/** Objects by key and by their indices: the part of a cache that is the same wherever its objects come from. */
export class ObjectStore<T extends KubeObject> implements Omit<Cache<T>, "whole"> {
  readonly #objects = new Map<string, Stored<T>>();
  readonly #indices: Indices<T>;
  readonly #keep: (object: Stored<T>) => Stored<T>;
  readonly #keys = new Map<string, Map<string, Set<string>>>();
  readonly #listeners = new Set<ChangeListener<T>>();

  constructor(indices: Indices<T>, keep: (object: Stored<T>) => Stored<T> = (object) => object) {
    this.#indices = indices;
    this.#keep = keep;
    for (const name of Object.keys(indices)) this.#keys.set(name, new Map());
  }

  get(key: string): Stored<T> | undefined {
    return this.#objects.get(key);
  }

  list(namespace?: string): readonly Stored<T>[] {
    const all = [...this.#objects.values()];
    if (namespace === undefined) return all;
    return all.filter(({ metadata }) => metadata.namespace === namespace);
  }

  byIndex(name: string, value: string): readonly Stored<T>[] {
    const index = this.#keys.get(name);
    if (index === undefined) throw new TrineError("internal", `cache: no index ${name}`);
    const keys = [...(index.get(value) ?? [])];
    return keys.flatMap((key) => this.#objects.get(key) ?? []);
  }

  onChange(listener: ChangeListener<T>): () => void {
    this.#listeners.add(listener);
    for (const object of this.#objects.values()) listener(undefined, object);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  keys(): readonly string[] {
    return [...this.#objects.keys()];
  }

  /** Takes an object in. One of the version that is there already changes nothing. */
  put(whole: Stored<T>): void {
    const key = keyOf(whole);
    const before = this.#objects.get(key);
    if (before !== undefined && isSame(before, whole)) return;
    const object = deepFreeze(this.#keep(whole));
    this.#unlink(key, before);
    this.#objects.set(key, object);
    this.#link(key, object);
    this.#tell(before, object);
  }

  remove(key: string): void {
    const before = this.#objects.get(key);
    if (before === undefined) return;
    this.#unlink(key, before);
    this.#objects.delete(key);
    this.#tell(before, undefined);
  }

  #tell(before: Stored<T> | undefined, after: Stored<T> | undefined): void {
    for (const listener of this.#listeners) listener(before, after);
  }

  #link(key: string, object: Stored<T>): void {
    for (const [name, index] of this.#keys) {
      for (const value of this.#indices[name]?.(object) ?? []) {
        const keys = index.get(value) ?? new Set();
        index.set(value, keys.add(key));
      }
    }
  }

  #unlink(key: string, object: Stored<T> | undefined): void {
    if (object === undefined) return;
    for (const [name, index] of this.#keys) {
      for (const value of this.#indices[name]?.(object) ?? []) {
        const keys = index.get(value);
        keys?.delete(key);
        if (keys?.size === 0) index.delete(value);
      }
    }
  }
}

function isSame(a: Stored, b: Stored): boolean {
  return (
    a.metadata.uid === b.metadata.uid && a.metadata.resourceVersion === b.metadata.resourceVersion
  );
}

import type { Selection } from "./kube-api.ts";
import type { KubeObject, Stored } from "./object.ts";

/** What an object is found by in an index: none, one or more values. */
export type Index<T extends KubeObject> = (object: Stored<T>) => readonly string[];

export type Indices<T extends KubeObject> = Readonly<Record<string, Index<T>>>;

/** What of a resource a cache has. */
export interface CacheScope<T extends KubeObject> extends Selection {
  /** What of each object is kept: what nobody reads costs memory all the same. Its metadata's name, uid and version stay. */
  readonly keep?: (object: Stored<T>) => Stored<T>;
}

/** Hears of a change after the cache has it. What it throws ends the cache's run: it is a bug. */
export type ChangeListener<T extends KubeObject> = (
  before: Stored<T> | undefined,
  after: Stored<T> | undefined,
) => void;

/** The objects of a resource as they were a moment ago. They are frozen, all the way down. */
export interface Cache<T extends KubeObject = KubeObject> {
  /** By `NAMESPACE/NAME`, or `NAME` of what is in no namespace. */
  get(key: string): Stored<T> | undefined;
  list(namespace?: string): readonly Stored<T>[];
  /** Of an index that the cache was made with. */
  byIndex(name: string, value: string): readonly Stored<T>[];
  /** Tells of all there is at once (without `before`), then of each change; answers how to end it. */
  onChange(listener: ChangeListener<T>): () => void;
  /** Resolves when the first list is in. */
  readonly whole: Promise<void>;
}

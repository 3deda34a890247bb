import type { KubeObject, Stored } from "./object.ts";

/** What an object is found by in an index: none, one or more values. */
export type Index<T extends KubeObject> = (object: Stored<T>) => readonly string[];

export type Indices<T extends KubeObject> = Readonly<Record<string, Index<T>>>;

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

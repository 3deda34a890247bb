import type { KubeObject, Place, Stored } from "./object.ts";
import type { JsonPatchOperation } from "./json-patch.ts";
import type { Resource } from "./resource.ts";

/** Which objects of a resource. */
export interface Selection {
  /** Left out: all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface KubeList<T extends KubeObject> {
  readonly items: readonly Stored<T>[];
  /** Where a watch goes on from. */
  readonly resourceVersion: string;
}

export type WatchEvent<T extends KubeObject> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: Stored<T> }
  /** All changes up to this version were told. */
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

export interface WriteOptions {
  /** Of updates and patches. */
  readonly subresource?: "status" | "scale" | "approval" | "resize";
  /** The server says what would be, and writes nothing. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface DeleteOptions {
  /** Kind `conflict` where the object there is another one. */
  readonly uid?: string;
  /** Kind `conflict` where the object has changed since. */
  readonly resourceVersion?: string;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
  readonly gracePeriodSeconds?: number;
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The API server, as controllers use it. Rejects with a `TrineError`: `notFound`, `alreadyExists`, `conflict` (an old
 * resourceVersion, another uid, a failed `test` of a patch), `invalid`, `forbidden`, `expired` (list again), `exhausted`
 * and `unavailable` (later), `timeout` (may have been done).
 */
export interface KubeApi {
  get<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    signal?: AbortSignal,
  ): Promise<Stored<T>>;

  list<T extends KubeObject>(
    resource: Resource<T>,
    within: Selection,
    signal?: AbortSignal,
  ): Promise<KubeList<T>>;

  /** The place is the object's own; without a name its `generateName` is used. */
  create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options?: WriteOptions,
  ): Promise<Stored<T>>;

  /** Puts the object where it says it is. With its resourceVersion: `conflict` when it has changed since. */
  update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options?: WriteOptions,
  ): Promise<Stored<T>>;

  patch<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    operations: readonly JsonPatchOperation[],
    options?: WriteOptions,
  ): Promise<Stored<T>>;

  /** Resolves when the server has taken it: an object with finalizers or a grace period is still there then. */
  delete(resource: Resource, at: Place, options?: DeleteOptions): Promise<void>;
}

/** What a cache asks of the API server. */
export interface ListWatch extends Pick<KubeApi, "list"> {
  /** Changes since a version, until the server ends it; kind `expired` where the version is too old. */
  watch<T extends KubeObject>(
    resource: Resource<T>,
    within: Selection & { readonly resourceVersion: string },
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent<T>>;
}

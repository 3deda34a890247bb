import { TrineError } from "@trine/base";
import type { Cache, CacheScope, Indices } from "../cache.ts";
import { deepFreeze } from "../freeze.ts";
import type { JsonPatchOperation } from "../json-patch.ts";
import type { DeleteOptions, KubeApi, KubeList, Selection, WriteOptions } from "../kube-api.ts";
import { type KubeObject, type Place, type Stored, keyOf } from "../object.ts";
import { ObjectStore } from "../object-store.ts";
import type { Resource } from "../resource.ts";
import { applyJsonPatch } from "./apply-json-patch.ts";
import { matches } from "./matches.ts";
import { freshObject, timeAt, updatedObject } from "./stored-object.ts";

/** A write that a test's hook may refuse, before or after it is done. */
export interface WriteCall {
  readonly verb: "create" | "update" | "patch" | "delete";
  readonly resource: string;
  readonly key: string;
  readonly subresource?: string;
}

interface Hooks {
  /** What it throws the writer gets, and nothing is written. */
  before?: (call: WriteCall) => void;
  /** What it throws the writer gets, and all is written: an answer that was lost. */
  after?: (call: WriteCall) => void;
}

type Tell = (before: Stored | undefined, after: Stored | undefined) => void;

/**
 * The API server in memory: versions, uids, generations, preconditions, finalizers, the status apart, JSON patches. Not
 * there: checks of schemas, defaults, and whatever controllers of Kubernetes' own do but `collectGarbage`.
 */
export class MemoryKube implements KubeApi {
  /** Of writes that succeeded, in order. */
  readonly writes: WriteCall[] = [];
  readonly hooks: Hooks = {};
  readonly #now: () => number;
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #watchers = new Map<string, Set<Tell>>();
  #held: (() => void)[] | undefined;
  #version = 1000;

  constructor(of: { readonly now?: () => number } = {}) {
    this.#now = of.now ?? Date.now;
  }

  get<T extends KubeObject>(resource: Resource<T>, at: Place): Promise<Stored<T>> {
    return Promise.resolve().then(() => this.#find(resource, at));
  }

  list<T extends KubeObject>(resource: Resource<T>, within: Selection): Promise<KubeList<T>> {
    const all = [...this.#of(resource).values()] as Stored<T>[];
    const items = all.filter((object) => matches(object, within));
    return Promise.resolve({ items, resourceVersion: String(this.#version) });
  }

  async create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const fresh = freshObject(resource, structuredClone(object), this.#now());
    const call = this.#call("create", resource, keyOf(fresh), options);
    return this.#write(call, options, () => {
      if (this.#of(resource).has(call.key)) {
        throw new TrineError("alreadyExists", `${call.resource} ${call.key}: is there already`);
      }
      return this.#store(resource, undefined, fresh, options);
    });
  }

  async update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const call = this.#call("update", resource, keyOf(object), options);
    return this.#write(call, options, () => {
      const before = this.#find(resource, placeIn(object));
      return this.#put(resource, before, structuredClone(object), options);
    });
  }

  async patch<T extends KubeObject>(
    resource: Resource<T>,
    at: Place,
    operations: readonly JsonPatchOperation[],
    options: WriteOptions = {},
  ): Promise<Stored<T>> {
    const call = this.#call("patch", resource, keyOf({ metadata: at }), options);
    return this.#write(call, options, () => {
      const before = this.#find(resource, at);
      const object = applyJsonPatch(before, operations) as KubeObject;
      return this.#put(resource, before, object, options);
    });
  }

  async delete(resource: Resource, at: Place, options: DeleteOptions = {}): Promise<void> {
    const call = this.#call("delete", resource, keyOf({ metadata: at }), {});
    await this.#write(call, {}, () => {
      const object = this.#find(resource, at);
      requirePreconditions(object, options);
      if (options.dryRun !== true) this.#end(resource, object, options);
      return object;
    });
  }

  /** What a list-watch of the resource would have. Indices as of the real one. */
  cache<T extends KubeObject>(
    resource: Resource<T>,
    indices: Indices<T> = {},
    within: CacheScope<T> = {},
  ): Cache<T> {
    const store = new ObjectStore<T>(indices, within.keep);
    const tell: Tell = (before, after) => {
      const isIn = after !== undefined && matches(after, within);
      if (isIn) store.put(after as Stored<T>);
      else if (before !== undefined) store.remove(keyOf(before));
    };
    for (const object of this.#of(resource).values()) tell(undefined, object);
    const watchers = this.#watchers.get(idOf(resource)) ?? new Set();
    this.#watchers.set(idOf(resource), watchers.add(tell));
    return Object.assign(store, { whole: Promise.resolve() });
  }

  /** From now on no cache hears of anything, until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const tell of held) tell();
  }

  /** Deletes what has owners, none of which is there any more: once, all the way down. */
  collectGarbage(): void {
    const uids = new Set<string>();
    for (const all of this.#objects.values()) {
      for (const { metadata } of all.values()) uids.add(metadata.uid);
    }
    let found = false;
    for (const [id, all] of this.#objects) {
      for (const object of [...all.values()]) {
        const { ownerReferences: owners = [], deletionTimestamp } = object.metadata;
        const isOrphan = owners.length > 0 && owners.every(({ uid }) => !uids.has(uid));
        if (!isOrphan || deletionTimestamp !== undefined) continue;
        this.#end(resourceIn(id, object), object, {});
        found = true;
      }
    }
    if (found) this.collectGarbage();
  }

  #find<T extends KubeObject>(resource: Resource<T>, at: Place): Stored<T> {
    const key = keyOf({ metadata: at });
    const object = this.#of(resource).get(key);
    if (object !== undefined) return object as Stored<T>;
    throw new TrineError("notFound", `${resource.plural} ${key}: is not there`);
  }

  #put<T extends KubeObject>(
    resource: Resource<T>,
    before: Stored<T>,
    object: KubeObject,
    options: WriteOptions,
  ): Stored<T> {
    const after = updatedObject(resource, before, object, options.subresource);
    if (after === before) return before;
    const { deletionTimestamp, finalizers = [] } = after.metadata ?? {};
    const isOver = deletionTimestamp !== undefined && finalizers.length === 0;
    const grace = after.metadata?.deletionGracePeriodSeconds ?? 0;
    if (isOver && grace === 0 && options.dryRun !== true) {
      this.#remove(resource, before);
      return before;
    }
    return this.#store(resource, before, after, options);
  }

  #store<T extends KubeObject>(
    resource: Resource<T>,
    before: Stored | undefined,
    object: KubeObject,
    options: WriteOptions,
  ): Stored<T> {
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    const stored = deepFreeze({ ...object, metadata }) as Stored<T>;
    if (options.dryRun === true) return stored;
    this.#of(resource).set(keyOf(stored), stored);
    this.#tell(resource, before, stored);
    return stored;
  }

  /** Marks as deleted what waits for somebody, removes the rest. */
  #end(resource: Resource, object: Stored, options: DeleteOptions): void {
    const { finalizers = [], deletionTimestamp } = object.metadata;
    const grace = options.gracePeriodSeconds ?? graceOf(object);
    if (finalizers.length === 0 && grace === 0) {
      this.#remove(resource, object);
      return;
    }
    const metadata = {
      ...object.metadata,
      deletionTimestamp: deletionTimestamp ?? timeAt(this.#now()),
      deletionGracePeriodSeconds: grace,
    };
    this.#store(resource, object, { ...object, metadata }, {});
  }

  #remove(resource: Resource, object: Stored): void {
    this.#version += 1;
    this.#of(resource).delete(keyOf(object));
    this.#tell(resource, object, undefined);
  }

  #tell(resource: Resource, before: Stored | undefined, after: Stored | undefined): void {
    const tell = (): void => {
      for (const each of this.#watchers.get(idOf(resource)) ?? []) each(before, after);
    };
    if (this.#held === undefined) tell();
    else this.#held.push(tell);
  }

  async #write<R>(call: WriteCall, options: WriteOptions, work: () => R): Promise<R> {
    // As over a connection: nothing is done before the caller goes on.
    await Promise.resolve();
    this.hooks.before?.(call);
    const result = work();
    if (options.dryRun !== true) this.writes.push(call);
    this.hooks.after?.(call);
    return result;
  }

  #call(
    verb: WriteCall["verb"],
    resource: Resource,
    key: string,
    { subresource }: WriteOptions,
  ): WriteCall {
    const call = { verb, resource: resource.plural, key };
    return subresource === undefined ? call : { ...call, subresource };
  }

  #of(resource: Resource): Map<string, Stored> {
    const id = idOf(resource);
    const all = this.#objects.get(id) ?? new Map<string, Stored>();
    this.#objects.set(id, all);
    return all;
  }
}

function requirePreconditions({ metadata }: Stored, options: DeleteOptions): void {
  const { uid = metadata.uid, resourceVersion = metadata.resourceVersion } = options;
  if (uid === metadata.uid && resourceVersion === metadata.resourceVersion) return;
  throw new TrineError("conflict", `delete ${metadata.name}: it is another one, or has changed`);
}

/** A pod on a node that has not ended stays until kubelet has ended it. */
function graceOf(object: Stored): number {
  const { kind, spec, status } = object as Stored & {
    readonly spec?: { readonly nodeName?: string; readonly terminationGracePeriodSeconds?: number };
    readonly status?: { readonly phase?: string };
  };
  const hasEnded = status?.phase === "Succeeded" || status?.phase === "Failed";
  if (kind !== "Pod" || spec?.nodeName === undefined || hasEnded) return 0;
  return spec.terminationGracePeriodSeconds ?? 30;
}

function idOf({ group, plural }: Resource): string {
  return `${group}/${plural}`;
}

function resourceIn(id: string, { apiVersion, kind, metadata }: Stored): Resource {
  const [group = "", plural = ""] = id.split("/");
  const version = apiVersion.split("/").at(-1) ?? "";
  return { group, version, plural, kind, namespaced: metadata.namespace !== undefined };
}

function placeIn({ metadata }: KubeObject): Place {
  const { namespace, name = "" } = metadata ?? {};
  return namespace === undefined ? { name } : { namespace, name };
}

import { type KubeObject, type Stored, keyOf } from "@trine/kube-client";

/**
 * What was written and the cache may not have yet. Whoever decides on an object that is older than its own last write does
 * the same thing twice; the cache tells of the newer one soon, and the key comes again.
 */
export class Ahead {
  readonly #versions = new Map<string, { readonly uid: string; readonly version: bigint }>();

  wrote({ metadata }: Stored): void {
    const { uid, resourceVersion } = metadata;
    this.#versions.set(keyOf({ metadata }), { uid, version: BigInt(resourceVersion) });
  }

  /** Whether the cache is behind what was written. */
  isPast(cached: Stored): boolean {
    const { uid, resourceVersion } = cached.metadata;
    const last = this.#versions.get(keyOf(cached));
    if (last?.uid !== uid) return false;
    return BigInt(resourceVersion) < last.version;
  }

  forget(object: KubeObject | string): void {
    this.#versions.delete(typeof object === "string" ? object : keyOf(object));
  }
}

import { type KubeObject, type Place, type Resource, type Stored, keyOf } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { storedResource } from "../release-objects.ts";
import { CRDS, type Crd } from "../resources.ts";

type Marks = Readonly<Record<string, string>>;

/** The API server in memory, with apply by one manager, and with kinds that go with their objects. */
export class MemoryCluster extends MemoryKube {
  /** Labels and annotations as they were applied: what is applied no more goes. */
  readonly #applied = new Map<string, KubeObject["metadata"]>();

  async apply<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: { readonly manager: string; readonly force?: boolean; readonly dryRun?: boolean },
  ): Promise<Stored<T>> {
    const { namespace, name = "" } = object.metadata ?? {};
    const at: Place = namespace === undefined ? { name } : { namespace, name };
    const there = await this.get(resource, at).catch(() => undefined);
    const { dryRun = false } = options;
    const id = `${resource.plural} ${keyOf(object)}`;
    const before = this.#applied.get(id);
    if (!dryRun) this.#applied.set(id, object.metadata);
    if (there === undefined) return this.create(resource, object, { dryRun });
    const metadata = { ...there.metadata };
    for (const marks of ["labels", "annotations"] as const) {
      const all = [there.metadata[marks], before?.[marks], object.metadata?.[marks]] as const;
      if (all.some((each) => each !== undefined)) metadata[marks] = merged(...all);
    }
    return this.update(resource, { ...there, ...object, metadata }, { dryRun });
  }

  override async delete(
    resource: Resource,
    at: Place,
    options: Parameters<MemoryKube["delete"]>[2] = {},
  ): Promise<void> {
    if (resource.plural !== CRDS.plural) return super.delete(resource, at, options);
    const kind = storedResource((await this.get(resource, at)) as Stored<Crd>);
    for (const object of (await this.list(kind, {})).items) {
      const { namespace, name } = object.metadata;
      await super.delete(kind, namespace === undefined ? { name } : { namespace, name });
    }
    const { items } = await this.list(kind, {});
    // As the API server's own finalizer does, it waits for its objects.
    if (items.length > 0) throw new Error(`${items.map(keyOf).join(", ")}: held`);
    await super.delete(resource, at, options);
  }
}

function merged(there: Marks = {}, before: Marks = {}, after: Marks = {}): Marks {
  const kept = Object.entries(there).filter(([name]) => before[name] === undefined);
  return { ...Object.fromEntries(kept), ...after };
}

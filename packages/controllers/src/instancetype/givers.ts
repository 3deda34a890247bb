import { TrineError, kindOf } from "@trine/base";
import {
  CLAIMS,
  CONTROLLER_REVISIONS,
  type Cache,
  type ControllerRevision,
  type KubeApi,
  type KubeObject,
  type Resource,
  type Stored,
} from "@trine/kube-client";
import {
  type GivingKind,
  type InstancetypeSpec,
  type Matcher,
  type PreferenceSpec,
  type Subject,
  type VolumeSources,
  kindOfMatcher,
} from "@trine/instancetypes";
import type { DataSource, DataVolume, ObjectMeta } from "@trine/kube-types";

/** What gives: instance types and preferences alike. */
export interface Giving extends KubeObject {
  readonly metadata: ObjectMeta;
  readonly spec: InstancetypeSpec | PreferenceSpec;
}

export interface GiversDeps {
  readonly api: Pick<KubeApi, "get" | "create">;
  readonly revisions: Pick<Cache<ControllerRevision>, "get">;
}

const cdi = { group: "cdi.kubevirt.io", version: "v1beta1", namespaced: true } as const;
const DATA_VOLUMES: Resource<DataVolume> = { ...cdi, plural: "datavolumes", kind: "DataVolume" };
const DATA_SOURCES: Resource<DataSource> = { ...cdi, plural: "datasources", kind: "DataSource" };
const SNAPSHOTS: Resource = {
  group: "snapshot.storage.k8s.io",
  version: "v1",
  plural: "volumesnapshots",
  kind: "VolumeSnapshot",
  namespaced: true,
};

function resourceOfGiver(kind: GivingKind): Resource<Giving> {
  return {
    group: "instancetype.kubevirt.io",
    version: "v1beta1",
    plural: `${kind.toLowerCase()}s`,
    kind,
    namespaced: !kind.includes("Cluster"),
  };
}

async function orNothing<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

/** Instance types and preferences, and the volumes they are inferred from, as the API server has them. */
export class Givers {
  readonly #deps: GiversDeps;

  constructor(deps: GiversDeps) {
    this.#deps = deps;
  }

  /** What a matcher names now; rejects with `notFound` or `invalid`. */
  async named(
    matcher: Matcher,
    subject: Subject,
    namespace: string,
    signal: AbortSignal,
  ): Promise<Stored<Giving>> {
    const resource = resourceOfGiver(kindOfMatcher(matcher, subject));
    const { name = "" } = matcher;
    if (name === "") throw new TrineError("invalid", `${resource.kind}: no name is given`);
    const at = resource.namespaced ? { namespace, name } : { name };
    return this.#deps.api.get(resource, at, signal);
  }

  /** What a revision keeps; rejects with `notFound`. */
  async kept(namespace: string, name: string, signal: AbortSignal): Promise<Giving["spec"]> {
    const cached = this.#deps.revisions.get(`${namespace}/${name}`);
    const at = { namespace, name };
    const found = cached ?? (await this.#deps.api.get(CONTROLLER_REVISIONS, at, signal));
    const spec = found.data?.["spec"];
    if (typeof spec === "object" && spec !== null) return spec;
    throw new TrineError("invalid", `ControllerRevision ${namespace}/${name}: keeps no spec`);
  }

  sources(signal: AbortSignal): VolumeSources {
    const { api } = this.#deps;
    const at = <T extends KubeObject>(resource: Resource<T>) => {
      return (namespace: string, name: string): Promise<Stored<T> | undefined> =>
        orNothing(api.get(resource, { namespace, name }, signal));
    };
    const labels = (resource: Resource) => {
      const get = at(resource);
      return async (namespace: string, name: string) => {
        const found = await get(namespace, name);
        return found === undefined ? undefined : (found.metadata.labels ?? {});
      };
    };
    return {
      claimLabels: labels(CLAIMS),
      snapshotLabels: labels(SNAPSHOTS),
      dataVolume: at(DATA_VOLUMES),
      dataSource: at(DATA_SOURCES),
    };
  }
}

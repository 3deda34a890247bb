import { kindOf } from "@trine/base";
import { DATA_SOURCE, type DataSource, type DataVolumeSpec } from "@trine/kube-types";
import type { KubeApi } from "../kube-api.ts";
import { type Resource, resourceOf } from "../resource.ts";

export const DATA_SOURCES: Resource<DataSource> = resourceOf(DATA_SOURCE);

type Source = NonNullable<DataVolumeSpec["source"]>;

/** What a DataVolume is filled with, once its DataSource has been looked at. */
export interface ResolvedSource {
  readonly source: Source | undefined;
  /** Why its DataSource says nothing now. */
  readonly trouble?: { readonly namespace: string; readonly message: string };
}

/** Why a DataSource stands for nothing, in CDI's words. */
export interface BrokenReference {
  readonly reason:
    "NotFound" | "SelfReference" | "CrossNamespaceReference" | "MaxReferenceDepthReached";
  readonly message: string;
}

/**
 * What a DataSource stands for: what it says, or what the one of its namespace says that it names, which may name no other.
 * `named` is asked for that one.
 */
export function standsFor(
  { metadata, spec }: DataSource,
  named: DataSource | undefined,
): { readonly says: DataSource["spec"]["source"] } | BrokenReference {
  const { dataSource } = spec.source;
  if (dataSource === undefined) return { says: spec.source };
  const { namespace = "default", name } = metadata ?? {};
  if (dataSource.namespace !== namespace) {
    const message = "DataSource cannot reference a DataSource in another namespace";
    return { reason: "CrossNamespaceReference", message };
  }
  if (dataSource.name === name) {
    return { reason: "SelfReference", message: "DataSource cannot self-reference" };
  }
  if (named === undefined) {
    const message = `DataSource ${namespace}/${dataSource.name} is not there`;
    return { reason: "NotFound", message };
  }
  if (named.spec.source.dataSource !== undefined) {
    const message = "DataSource reference chain exceeds maximum depth of 1";
    return { reason: "MaxReferenceDepthReached", message };
  }
  return { says: named.spec.source };
}

/**
 * What a DataVolume of `namespace` is filled with; a DataSource stands for what its spec says. Whoever decides on a copy asks
 * here: two that read it in two ways would allow one copy and make another.
 */
export async function resolveSource(
  api: Pick<KubeApi, "get">,
  { source, sourceRef }: Pick<DataVolumeSpec, "source" | "sourceRef">,
  own: string,
  signal: AbortSignal,
): Promise<ResolvedSource> {
  if (sourceRef === undefined || source !== undefined) return { source };
  const { namespace = own, name } = sourceRef;
  const find = (of: string): Promise<DataSource | undefined> =>
    api.get(DATA_SOURCES, { namespace, name: of }, signal).catch((cause: unknown) => {
      if (kindOf(cause) !== "notFound") throw cause;
      return undefined;
    });
  const found = await find(name);
  if (found === undefined) {
    const message = `DataSource ${namespace}/${name} is not there`;
    return { source: undefined, trouble: { namespace, message } };
  }
  const { dataSource } = found.spec.source;
  // One of another namespace is not looked at: it is nobody's to read from here.
  const isNear = dataSource?.namespace === namespace;
  const stands = standsFor(found, isNear ? await find(dataSource.name) : undefined);
  if (!("says" in stands)) {
    const message = `DataSource ${namespace}/${name}: ${stands.message}`;
    return { source: undefined, trouble: { namespace, message } };
  }
  const { pvc, snapshot } = stands.says;
  return { source: { ...(pvc && { pvc }), ...(snapshot && { snapshot }) } };
}

/** What a volume copies. */
export interface CloneSource {
  readonly kind: "pvc" | "snapshot";
  readonly namespace: string;
  readonly name: string;
}

/** What a volume copies, where that is of another namespace than its own. */
export function foreignSource(source: Source | undefined, own: string): CloneSource | undefined {
  for (const kind of ["pvc", "snapshot"] as const) {
    const from = source?.[kind];
    if (from === undefined) continue;
    return from.namespace === own ? undefined : { kind, ...from };
  }
  return undefined;
}

import { kindOf } from "@trine/base";
import { DATA_SOURCE, type DataSource, type DataVolumeSpec } from "@trine/kube-types";
import type { KubeApi } from "../kube-api.ts";
import { type Resource, resourceOf } from "../resource.ts";

export const DATA_SOURCES: Resource<DataSource> = resourceOf(DATA_SOURCE);

type Source = NonNullable<DataVolumeSpec["source"]>;

/** What a DataVolume is filled with, once its DataSource has been looked at. */
export interface ResolvedSource {
  readonly source: Source | undefined;
  /** `NAMESPACE/NAME` of a DataSource that is not there. */
  readonly missing?: string;
}

/**
 * What a DataVolume of `namespace` is filled with; a DataSource stands for what its spec says. Whoever decides on a copy asks
 * here: two that read it in two ways would allow one copy and make another.
 */
export async function resolveSource(
  api: Pick<KubeApi, "get">,
  { source, sourceRef }: Pick<DataVolumeSpec, "source" | "sourceRef">,
  namespace: string,
  signal: AbortSignal,
): Promise<ResolvedSource> {
  if (sourceRef === undefined || source !== undefined) return { source };
  const at = { namespace: sourceRef.namespace ?? namespace, name: sourceRef.name };
  const found = await api.get(DATA_SOURCES, at, signal).catch((cause: unknown) => {
    if (kindOf(cause) !== "notFound") throw cause;
    return undefined;
  });
  if (found === undefined) return { source: undefined, missing: `${at.namespace}/${at.name}` };
  const { pvc, snapshot } = found.spec.source;
  return { source: { ...(pvc && { pvc }), ...(snapshot && { snapshot }) } };
}

/** The namespace that a volume copies from, where it is another than its own. */
export function foreignNamespace(source: Source | undefined, own: string): string | undefined {
  const from = source?.pvc?.namespace ?? source?.snapshot?.namespace;
  return from === undefined || from === own ? undefined : from;
}

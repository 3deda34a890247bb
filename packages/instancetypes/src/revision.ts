import type { ObjectMeta, OwnerReference } from "@trine/kube-types";
import type { InstancetypeSpec, PreferenceSpec } from "./specs.ts";

/** An instance type or a preference as the API server answers it. */
export interface Giver {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly generation?: number;
    readonly namespace?: string;
  };
  readonly spec: InstancetypeSpec | PreferenceSpec;
}

/** Where a machine keeps what it was given. */
export interface Keeper {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly owner: OwnerReference;
}

const PREFIX = "instancetype.kubevirt.io/object";

/** The label of a revision that says what it was made of. */
export const REVISION_OF = `${PREFIX}-name`;

/** A ControllerRevision of apps/v1. */
interface GivenRevision {
  readonly apiVersion: "apps/v1";
  readonly kind: "ControllerRevision";
  readonly metadata: ObjectMeta & { readonly name: string };
  readonly data: Readonly<Record<string, unknown>>;
  readonly revision: number;
}

/** What a machine was given, as it was then: later changes of the giver do not reach it. */
export function revisionOf(
  { apiVersion, kind, metadata, spec }: Giver,
  keeper: Keeper,
): GivenRevision {
  const version = apiVersion.split("/")[1] ?? apiVersion;
  const { name, uid, generation = 0, namespace } = metadata;
  return {
    apiVersion: "apps/v1",
    kind: "ControllerRevision",
    metadata: {
      name: `${keeper.name}-${name}-${version}-${uid}-${generation}`,
      ...(keeper.namespace !== undefined && { namespace: keeper.namespace }),
      ownerReferences: [keeper.owner],
      labels: {
        [`${PREFIX}-generation`]: String(generation),
        [`${PREFIX}-kind`]: kind,
        [REVISION_OF]: name,
        [`${PREFIX}-uid`]: uid,
        [`${PREFIX}-version`]: version,
      },
    },
    data: {
      apiVersion,
      kind,
      metadata: { name, uid, generation, ...(namespace !== undefined && { namespace }) },
      spec,
    },
    revision: 0,
  };
}

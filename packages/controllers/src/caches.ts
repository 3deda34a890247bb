import { CLAIMS, CONTROLLER_REVISIONS, type KubeObject } from "@trine/kube-client";
import type { VirtualMachine } from "@trine/kube-types";
import type { ControlCaches, MakeCache } from "./controller.ts";
import { DATA_VOLUMES, INSTANCES, MACHINES, REPLICA_SETS } from "./kinds.ts";
import { controllerOf } from "./owner.ts";

/** Of objects by the uid of their controller. */
export const BY_OWNER = "owner";

/** Of machines by the claims and volumes that they use: `NAMESPACE/NAME`. */
export const BY_VOLUME = "volume";

export function controlCaches(make: MakeCache): ControlCaches {
  return {
    machines: make(MACHINES, { [BY_VOLUME]: volumesOf }),
    instances: make(INSTANCES, { [BY_OWNER]: ownersOf }),
    replicaSets: make(REPLICA_SETS),
    dataVolumes: make(DATA_VOLUMES),
    claims: make(CLAIMS),
    revisions: make(CONTROLLER_REVISIONS, { [BY_OWNER]: ownersOf }),
  };
}

function ownersOf(object: KubeObject): readonly string[] {
  const owner = controllerOf(object);
  return owner === undefined ? [] : [owner.uid];
}

function volumesOf({ metadata, spec }: VirtualMachine): readonly string[] {
  const { namespace = "default" } = metadata ?? {};
  const { volumes = [] } = spec.template.spec ?? {};
  const used = volumes.flatMap(({ persistentVolumeClaim, dataVolume, ephemeral }) => [
    persistentVolumeClaim?.claimName,
    dataVolume?.name,
    ephemeral?.persistentVolumeClaim?.claimName,
  ]);
  const made = (spec.dataVolumeTemplates ?? []).map((template) => template.metadata?.name);
  const names = [...used, ...made].filter((name) => name !== undefined);
  return [...new Set(names)].map((name) => `${namespace}/${name}`);
}

import {
  catalogYaml,
  clusterInstancetypes,
  clusterPreferences,
} from "../packages/instancetypes/src/index.ts";
import { kustomization } from "./kustomization.ts";

/** deploy/instancetypes: what users of KubeVirt expect to find in a cluster, made of the tables of packages/instancetypes. */
export function instancetypeFiles(): Readonly<Record<string, string>> {
  const head = "# Written by scripts/docs.ts from packages/instancetypes; do not edit.\n";
  return {
    "deploy/instancetypes/Kustomization":
      head + kustomization(["instancetypes.yaml", "preferences.yaml"]),
    "deploy/instancetypes/instancetypes.yaml": head + catalogYaml(clusterInstancetypes()),
    "deploy/instancetypes/preferences.yaml": head + catalogYaml(clusterPreferences()),
  };
}

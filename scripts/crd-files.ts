import { KINDS, crdName, crdYaml } from "../packages/kube-types/src/index.ts";
import { kustomization } from "./kustomization.ts";

/** deploy/crds: one CustomResourceDefinition a file, made of the schemas of packages/kube-types. */
export function crdFiles(): Readonly<Record<string, string>> {
  const head = "# Written by scripts/docs.ts from packages/kube-types; do not edit.\n";
  const files = KINDS.map((kind) => `${crdName(kind)}.yaml`).sort();
  return {
    "deploy/crds/Kustomization": head + kustomization(files),
    ...Object.fromEntries(
      KINDS.map((kind) => [`deploy/crds/${crdName(kind)}.yaml`, head + crdYaml(kind)]),
    ),
  };
}

import { TrineError } from "@trine/base";
import type { Container } from "./container-schema.ts";
import { expand } from "./expand.ts";
import type { PodFacts } from "./facts.ts";
import { fieldValue, resourceValue } from "./field-values.ts";
import type { SourceData, Sources } from "./parse-manifest.ts";
import type { Pod } from "./pod-schema.ts";

const MAX_BYTES = 2 * 1024 * 1024;

export interface Scope {
  readonly pod: Pod;
  readonly sources: Sources;
  readonly facts: PodFacts;
}

/**
 * The variables of a container in kubelet's order: envFrom first, later ones win, `$(NAME)` sees those
 * before it. Kind `notFound` for a source that is neither given nor optional.
 */
export function environmentOf(container: Container, scope: Scope): Map<string, string> {
  const variables = new Map<string, string>();
  for (const from of container.envFrom) {
    const [kind, ref] =
      from.configMapRef === undefined
        ? (["secrets", from.secretRef] as const)
        : (["configMaps", from.configMapRef] as const);
    const data = sourceOf(scope, kind, ref?.name ?? "", ref?.optional ?? false);
    for (const [key, value] of data ?? []) variables.set(from.prefix + key, value.toString("utf8"));
  }
  for (const variable of container.env) {
    const value =
      variable.valueFrom === undefined
        ? expand(variable.value ?? "", (name) => variables.get(name))
        : valueFrom(container, variable.valueFrom, scope);
    if (value !== undefined) variables.set(variable.name, value);
  }
  let size = 0;
  for (const [name, value] of variables) size += name.length + value.length;
  if (size > MAX_BYTES) {
    const what = `container ${container.name}: its environment has more than ${MAX_BYTES} bytes`;
    throw new TrineError("invalid", what);
  }
  return variables;
}

type From = NonNullable<Container["env"][number]["valueFrom"]>;

/** Undefined: an optional source that is not there leaves the variable out. */
function valueFrom(container: Container, from: From, scope: Scope): string | undefined {
  if (from.fieldRef !== undefined) {
    return fieldValue(scope.pod, from.fieldRef.fieldPath, scope.facts);
  }
  if (from.resourceFieldRef !== undefined) {
    return resourceValue(scope.pod, container, from.resourceFieldRef, scope.facts);
  }
  const kind = from.configMapKeyRef === undefined ? "secrets" : "configMaps";
  const ref = from.configMapKeyRef ?? from.secretKeyRef;
  if (ref === undefined) return undefined;
  const value = sourceOf(scope, kind, ref.name, ref.optional)?.get(ref.key);
  if (value === undefined && !ref.optional) {
    throw new TrineError("notFound", `${WORD[kind]} ${ref.name} has no key ${ref.key}`);
  }
  return value?.toString("utf8");
}

const WORD = { configMaps: "ConfigMap", secrets: "Secret" } as const;

/** A ConfigMap or Secret of the pod's namespace; undefined only when it is optional. */
export function sourceOf(
  { pod, sources }: Pick<Scope, "pod" | "sources">,
  kind: keyof Sources,
  name: string,
  optional: boolean,
): SourceData | undefined {
  const key = `${pod.metadata.namespace}/${name}`;
  const data = sources[kind].get(key);
  if (data === undefined && !optional) {
    const advice = "put it into the same file as the pod";
    throw new TrineError("notFound", `no ${WORD[kind]} ${key}: ${advice}`);
  }
  return data;
}

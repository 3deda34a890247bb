import { TrineError } from "@trine/base";
import { type KubeApi, pointer } from "@trine/kube-client";
import { type Choice, type Subject, applyChoice, inferMatcher } from "@trine/instancetypes";
import type { ClusterDefaults } from "@trine/kube-types";
import { MACHINES } from "../kinds.ts";
import type { Machine } from "../vm/seen.ts";
import { type NotGiven, failed } from "./give.ts";
import type { Givers, Giving } from "./givers.ts";

interface ExpandDeps {
  readonly api: Pick<KubeApi, "patch">;
  readonly givers: Givers;
}

const SUBJECTS = [
  ["Instancetype", "instancetype", "instancetypeRef"],
  ["Preference", "preference", "preferenceRef"],
] as const;

/** Whether the cluster's policy wants a machine to say for itself what it is given by name. */
export function isToExpand(
  { spec, status }: Pick<Machine, "spec" | "status">,
  policy: ClusterDefaults["referencePolicy"],
): boolean {
  if (policy === undefined || policy === "reference") return false;
  const given = SUBJECTS.filter(([, matcher]) => spec[matcher] !== undefined);
  if (given.length === 0) return false;
  if (policy === "expandAll") return true;
  // What is kept in a revision stays so.
  return !given.some(
    ([, matcher, ref]) =>
      isName(spec[matcher]?.revisionName) || isName(status?.[ref]?.controllerRevisionRef?.name),
  );
}

/**
 * Writes what a machine is given by name into its template, and its names off: one write, so that there is no moment at
 * which it is given half of it. Answers the machine as it is then.
 */
export async function expandInPlace(
  deps: ExpandDeps,
  vm: Machine,
  defaults: ClusterDefaults,
  signal: AbortSignal,
): Promise<Machine | NotGiven> {
  const { metadata, spec } = vm;
  const { template } = spec;
  if (template.spec === undefined) return vm;
  const found: Partial<Record<"instancetype" | "preference", Giving["spec"] | undefined>> = {};
  for (const [subject, matcher] of SUBJECTS) {
    try {
      found[matcher] = await givenNow(deps, vm, subject, signal);
    } catch (cause) {
      return failed(subject, cause);
    }
  }
  const choice = found as Choice;
  const annotations = template.metadata?.annotations ?? {};
  const at = "spec.template.spec";
  const applied = applyChoice(choice, { spec: template.spec, annotations }, at, defaults);
  if (applied.conflicts !== undefined) {
    const fields = applied.conflicts.map(({ field }) => field).join(", ");
    const why = `VM field(s) ${fields} conflicts with selected instance type`;
    return failed("Instancetype", new TrineError("invalid", why));
  }
  const said = applied.template.annotations;
  const hasSaid = Object.keys(said).length > 0;
  const labelled = hasSaid ? { metadata: { ...template.metadata, annotations: said } } : {};
  const value = { ...template, ...labelled, spec: applied.template.spec };
  const { namespace = "default", name, uid, resourceVersion } = metadata;
  return deps.api.patch(
    MACHINES,
    { namespace, name },
    [
      { op: "test", path: pointer("metadata", "uid"), value: uid },
      { op: "test", path: pointer("metadata", "resourceVersion"), value: resourceVersion },
      { op: "replace", path: pointer("spec", "template"), value },
      ...SUBJECTS.filter(([, matcher]) => spec[matcher] !== undefined).map(
        ([, matcher]) => ({ op: "remove", path: pointer("spec", matcher) }) as const,
      ),
    ],
    { signal },
  );
}

/** As it was kept, or else as it is; nothing is kept of it. */
async function givenNow(
  { givers }: ExpandDeps,
  vm: Machine,
  subject: Subject,
  signal: AbortSignal,
): Promise<Giving["spec"] | undefined> {
  const [, field, ref] = subject === "Instancetype" ? SUBJECTS[0] : SUBJECTS[1];
  const matcher = vm.spec[field];
  if (matcher === undefined) return undefined;
  const { namespace = "default" } = vm.metadata;
  const noted = vm.status?.[ref];
  const isSame = noted?.name === matcher.name && noted?.kind === matcher.kind;
  const kept = isName(matcher.revisionName)
    ? matcher.revisionName
    : isSame
      ? noted?.controllerRevisionRef?.name
      : undefined;
  if (isName(kept)) return givers.kept(namespace, kept, signal);
  const inferred = await inferMatcher(vm, matcher, subject, givers.sources(signal));
  if (inferred === undefined) return undefined;
  return (await givers.named(inferred, subject, namespace, signal)).spec;
}

function isName(text: string | null | undefined): text is string {
  return text !== undefined && text !== null && text !== "";
}

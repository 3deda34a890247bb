import { isDeepStrictEqual } from "node:util";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { CONTROLLER_REVISIONS, type KubeApi } from "@trine/kube-client";
import {
  type Choice,
  type InstancetypeSpec,
  type Matcher,
  type PreferenceSpec,
  type Subject,
  applyChoice,
  inferMatcher,
  revisionOf,
} from "@trine/instancetypes";
import {
  CLUSTER_DEFAULTS,
  type VirtualMachineSpec,
  type VirtualMachineStatus,
} from "@trine/kube-types";
import type { Failure } from "../vm/conditions.ts";
import { MACHINES } from "../kinds.ts";
import { ownedBy } from "../owner.ts";
import type { Machine } from "../vm/seen.ts";
import type { Givers, Giving } from "./givers.ts";

type Reference = NonNullable<VirtualMachineStatus["instancetypeRef"]>;

interface GiveDeps {
  readonly api: Pick<KubeApi, "get" | "create" | "update">;
  readonly givers: Givers;
}

/** Why a machine is not given what it names. */
export interface NotGiven {
  readonly failure: Failure;
  readonly cause: unknown;
}

/** What a machine is given by name. */
type Given = { readonly choice: Choice; readonly vm: Machine } | NotGiven;

const FIELDS = { Instancetype: "instancetypeRef", Preference: "preferenceRef" } as const;
const MATCHERS = { Instancetype: "instancetype", Preference: "preference" } as const;

/**
 * What a machine is given by name. At first use it is kept in a ControllerRevision, and the machine's status says in which:
 * from then on that one counts. Answers the machine as it is then.
 */
export async function give(deps: GiveDeps, vm: Machine, signal: AbortSignal): Promise<Given> {
  const references: Partial<Record<(typeof FIELDS)[Subject], Reference>> = {};
  for (const subject of ["Instancetype", "Preference"] as const) {
    try {
      const reference = await referenceTo(deps, vm, subject, signal);
      if (reference !== undefined) references[FIELDS[subject]] = reference;
    } catch (cause) {
      return failed(subject, cause);
    }
  }
  const noted = await noteReferences(deps, vm, references, signal);
  return chosen(deps, noted, references, signal);
}

/** Only what its user can mend is told in the machine's status. */
export function failed(subject: Subject, cause: unknown): NotGiven {
  if (!["notFound", "invalid"].includes(kindOf(cause))) throw cause;
  const reason = kindOf(cause) === "notFound" ? `FailedFind${subject}` : "FailedCreate";
  return { failure: { reason, message: messageOf(cause) }, cause };
}

/** Where the machine's giver is kept; undefined where it has none. */
async function referenceTo(
  deps: GiveDeps,
  vm: Machine,
  subject: Subject,
  signal: AbortSignal,
): Promise<Reference | undefined> {
  const matcher = vm.spec[MATCHERS[subject]];
  if (matcher === undefined) return undefined;
  const before = vm.status?.[FIELDS[subject]] ?? undefined;
  const said = saidBy(matcher);
  const { revisionName = "" } = matcher;
  if (revisionName !== "") return { ...said, controllerRevisionRef: { name: revisionName } };
  const isSame =
    before !== undefined &&
    Object.entries(said).every(([name, value]) => before[name as keyof Reference] === value);
  if (isSame && before.controllerRevisionRef?.name !== undefined) return before;
  const sources = deps.givers.sources(signal);
  const inferred = await inferMatcher(vm, matcher, subject, sources);
  if (inferred === undefined) return undefined;
  const name = await keep(deps, vm, inferred, subject, signal);
  return { ...saidBy(inferred), ...said, controllerRevisionRef: { name } };
}

/** What the status repeats of a matcher. */
function saidBy(matcher: Matcher): Reference {
  const fields = ["name", "kind", "inferFromVolume", "inferFromVolumeFailurePolicy"] as const;
  const entries = fields.map((field) => [field, matcher[field]] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== ""));
}

/** Keeps a giver as it is now; answers the name of its revision. */
async function keep(
  deps: GiveDeps,
  vm: Machine,
  matcher: Matcher,
  subject: Subject,
  signal: AbortSignal,
): Promise<string> {
  const { namespace = "default", name } = vm.metadata;
  const giver = await deps.givers.named(matcher, subject, namespace, signal);
  if (subject === "Instancetype") refuseConflicts(vm, giver.spec as InstancetypeSpec);
  const revision = revisionOf(giver, { name, namespace, owner: ownedBy(vm) });
  try {
    await deps.api.create(CONTROLLER_REVISIONS, revision, { signal });
  } catch (cause) {
    if (kindOf(cause) !== "alreadyExists") throw cause;
    const spec = await deps.givers.kept(namespace, revision.metadata.name, signal);
    if (!isDeepStrictEqual(spec, giver.spec)) {
      const what = `ControllerRevision ${revision.metadata.name}`;
      throw new TrineError("invalid", `${what}: is there with other content: delete it`);
    }
  }
  return revision.metadata.name;
}

/** An instance type may have changed after the webhook saw it. */
function refuseConflicts(vm: Machine, instancetype: InstancetypeSpec): void {
  const { spec, metadata } = vm.spec.template;
  if (spec === undefined) return;
  const template = { spec, annotations: metadata?.annotations ?? {} };
  const at = "spec.template.spec";
  const { conflicts } = applyChoice({ instancetype }, template, at, CLUSTER_DEFAULTS);
  if (conflicts === undefined) return;
  const fields = conflicts.map(({ field }) => field).join(", ");
  throw new TrineError("invalid", `VM field(s) ${fields} conflicts with selected instance type`);
}

/** Before anything is started of them: whoever goes on here finds the same revisions. */
async function noteReferences(
  { api }: GiveDeps,
  vm: Machine,
  references: Readonly<Partial<Record<"instancetypeRef" | "preferenceRef", Reference>>>,
  signal: AbortSignal,
): Promise<Machine> {
  // Of a machine that names no giver any more nothing is noted either.
  const { instancetypeRef, preferenceRef, ...rest } = vm.status ?? {};
  const status = { ...rest, ...references };
  const before = {
    instancetypeRef: instancetypeRef ?? undefined,
    preferenceRef: preferenceRef ?? undefined,
  };
  const after = { instancetypeRef: undefined, preferenceRef: undefined, ...references };
  if (isDeepStrictEqual(before, after)) return vm;
  const noted = { ...vm, status };
  return api.update(MACHINES, noted, { subresource: "status", signal });
}

async function chosen(
  { givers }: GiveDeps,
  vm: Machine,
  references: Readonly<Partial<Record<"instancetypeRef" | "preferenceRef", Reference>>>,
  signal: AbortSignal,
): Promise<Given> {
  const specIn = async (subject: Subject): Promise<Giving["spec"] | undefined> => {
    const name = references[FIELDS[subject]]?.controllerRevisionRef?.name;
    const { namespace = "default" } = vm.metadata;
    return name === undefined ? undefined : givers.kept(namespace, name, signal);
  };
  try {
    const instancetype = (await specIn("Instancetype")) as InstancetypeSpec | undefined;
    const preference = (await specIn("Preference")) as PreferenceSpec | undefined;
    return { vm, choice: { instancetype, preference } };
  } catch (cause) {
    return failed("Instancetype", cause);
  }
}

/** What a machine was given when it was started: its revision of then names the revisions. Undefined when one is gone. */
export async function givenThen(
  givers: Givers,
  { instancetype, preference }: VirtualMachineSpec,
  namespace: string,
  signal: AbortSignal,
): Promise<Choice | undefined> {
  const kept = async ({ revisionName = "" }: Matcher): Promise<Giving["spec"] | undefined> =>
    revisionName === "" ? undefined : givers.kept(namespace, revisionName, signal);
  try {
    return {
      instancetype: (await kept(instancetype ?? {})) as InstancetypeSpec | undefined,
      preference: (await kept(preference ?? {})) as PreferenceSpec | undefined,
    };
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

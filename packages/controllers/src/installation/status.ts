import type { Cdi, KubeVirt } from "@trine/kube-types";

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

type Old = readonly {
  readonly type: string;
  readonly status: string;
  readonly lastTransitionTime?: string | null | undefined;
}[];

/** Without the time: since when it is so is known by what was written last. */
type Said = readonly [type: string, status: "True" | "False", reason: string, message: string];

const WELL: readonly Said[] = [
  ["Available", "True", "AllComponentsReady", "All components are ready."],
  ["Progressing", "False", "AllComponentsReady", "All components are ready."],
  ["Degraded", "False", "AllComponentsReady", "All components are ready."],
];

const CREATED: Said = ["Created", "True", "AllResourcesCreated", "All resources were created."];

/** A list of field names can be long; a condition's message is read by people. */
const MAX_NAMES = 16;

interface StatusOf {
  readonly version: string;
  readonly generation: number;
  readonly architecture: string;
  readonly inert: readonly string[];
  readonly now: string;
}

/** The status of the KubeVirt object: whoever writes it leads, and serves what the object's kind promises. */
export function kubeVirtStatus(
  old: KubeVirt["status"],
  { version, generation, architecture, inert, now }: StatusOf,
): NonNullable<KubeVirt["status"]> {
  const said = [...WELL, CREATED, ...inertCondition(inert)];
  return {
    ...old,
    phase: "Deployed",
    operatorVersion: version,
    targetKubeVirtVersion: version,
    observedKubeVirtVersion: version,
    observedGeneration: generation,
    defaultArchitecture: architecture,
    conditions: conditions(old?.conditions ?? [], said, now),
  };
}

/** The same for CDI's object. */
export function cdiStatus(
  old: Cdi["status"],
  { version, now }: Pick<StatusOf, "version" | "now">,
): NonNullable<Cdi["status"]> {
  return {
    ...old,
    phase: "Deployed",
    operatorVersion: version,
    targetVersion: version,
    observedVersion: version,
    conditions: [...conditions(old?.conditions ?? [], WELL, now)],
  };
}

function inertCondition(inert: readonly string[]): readonly Said[] {
  if (inert.length === 0) return [];
  const names = inert.slice(0, MAX_NAMES).join(", ");
  const more = inert.length > MAX_NAMES ? ` and ${inert.length - MAX_NAMES} more` : "";
  return [["trine.dev/InertFields", "True", "NotActedOn", `Nothing acts on ${names}${more}.`]];
}

function conditions(old: Old, said: readonly Said[], now: string): readonly Condition[] {
  return said.map(([type, status, reason, message]) => {
    const before = old.find((each) => each.type === type);
    const since = before?.status === status ? before.lastTransitionTime : undefined;
    return { type, status, reason, message, lastTransitionTime: since ?? now };
  });
}

import type { Affinity, Toleration, TopologySpreadConstraint } from "../kubernetes/scheduling.ts";
import type { LabelSelector } from "../kubernetes/selectors.ts";
import { filled, inRange, unique } from "./fields.ts";
import { checkLabelKey, hasForm } from "./names.ts";
import { type Report, shown } from "./report.ts";

/** Labels of an object or of a selector. */
export function checkLabels(
  labels: Readonly<Record<string, string>> | undefined,
  at: string,
  report: Report,
): void {
  for (const [key, value] of Object.entries(labels ?? {})) {
    checkLabelKey(key, at, report);
    if (hasForm("labelValue", value)) continue;
    report.invalid(`${at}[${key}]`, `is ${shown(value)}, which is not the value of a label`);
  }
}

export function checkTolerations(items: readonly Toleration[], at: string, report: Report): void {
  items.forEach(({ key = "", operator = "", value = "", effect, tolerationSeconds }, index) => {
    const field = `${at}[${index}]`;
    if (key !== "") checkLabelKey(key, `${field}.key`, report);
    else if (operator !== "Exists") {
      report.invalid(`${field}.operator`, "must be Exists where there is no key");
    }
    if (operator === "Exists" && value !== "") {
      report.invalid(`${field}.value`, "must be empty with the operator Exists");
    }
    if (tolerationSeconds !== undefined && effect !== "NoExecute") {
      report.invalid(`${field}.effect`, "must be NoExecute with tolerationSeconds");
    }
  });
}

export function checkSpread(
  items: readonly TopologySpreadConstraint[],
  at: string,
  report: Report,
): void {
  items.forEach(({ maxSkew, topologyKey, whenUnsatisfiable, minDomains, labelSelector }, index) => {
    const field = `${at}[${index}]`;
    if (maxSkew < 1) report.invalid(`${field}.maxSkew`, `is ${maxSkew}, must be 1 at least`);
    filled(topologyKey, `${field}.topologyKey`, report);
    if (minDomains !== undefined) {
      if (minDomains < 1) report.invalid(`${field}.minDomains`, "must be 1 at least");
      if (whenUnsatisfiable !== "DoNotSchedule") {
        report.invalid(`${field}.minDomains`, "stands with whenUnsatisfiable DoNotSchedule only");
      }
    }
    checkSelector(labelSelector, `${field}.labelSelector`, report);
  });
  const keyOf = (item: TopologySpreadConstraint): string =>
    `${item.topologyKey} ${item.whenUnsatisfiable}`;
  unique(items, keyOf, (index) => `${at}[${index}]`, report);
}

/** Whether a requirement's operator takes values. */
const TAKES_VALUES: Readonly<Record<string, boolean>> = {
  In: true,
  NotIn: true,
  Exists: false,
  DoesNotExist: false,
};

export function checkSelector(of: LabelSelector | undefined, at: string, report: Report): void {
  checkLabels(of?.matchLabels, `${at}.matchLabels`, report);
  checkRequirements(of?.matchExpressions ?? [], `${at}.matchExpressions`, report);
}

type Requirement = NonNullable<LabelSelector["matchExpressions"]>[number];

function checkRequirements(items: readonly Requirement[], at: string, report: Report): void {
  items.forEach(({ key, operator, values = [] }, index) => {
    const field = `${at}[${index}]`;
    checkLabelKey(key, `${field}.key`, report);
    const takes = TAKES_VALUES[operator];
    if (takes === true && values.length === 0) report.required(`${field}.values`);
    if (takes === false && values.length > 0) {
      report.invalid(`${field}.values`, `must be empty with the operator ${operator}`);
    }
    if ((operator === "Gt" || operator === "Lt") && !/^-?\d+$/.test(values.join())) {
      report.invalid(`${field}.values`, `must be one integer with the operator ${operator}`);
    }
  });
}

const WEIGHTS = [1, 100] as const;

export function checkAffinity(of: Affinity, at: string, report: Report): void {
  const { nodeAffinity, podAffinity, podAntiAffinity } = of;
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = `${at}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
  if (required?.nodeSelectorTerms.length === 0) report.required(terms);
  required?.nodeSelectorTerms.forEach(({ matchExpressions = [] }, index) => {
    checkRequirements(matchExpressions, `${terms}[${index}].matchExpressions`, report);
  });
  const preferred = nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  preferred.forEach(({ weight, preference }, index) => {
    const field = `${at}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    inRange(weight, WEIGHTS, `${field}.weight`, report);
    const expressions = preference.matchExpressions ?? [];
    checkRequirements(expressions, `${field}.preference.matchExpressions`, report);
  });
  for (const [name, affinity] of Object.entries({ podAffinity, podAntiAffinity })) {
    if (affinity !== undefined) checkPodAffinity(affinity, `${at}.${name}`, report);
  }
}

type PodAffinity = NonNullable<Affinity["podAffinity"]>;

function checkPodAffinity(of: PodAffinity, at: string, report: Report): void {
  const required = of.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  required.forEach(({ topologyKey, labelSelector }, index) => {
    const field = `${at}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`;
    filled(topologyKey, `${field}.topologyKey`, report);
    checkSelector(labelSelector, `${field}.labelSelector`, report);
  });
  const preferred = of.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  preferred.forEach(({ weight, podAffinityTerm }, index) => {
    const field = `${at}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    inRange(weight, WEIGHTS, `${field}.weight`, report);
    filled(podAffinityTerm.topologyKey, `${field}.podAffinityTerm.topologyKey`, report);
    checkSelector(podAffinityTerm.labelSelector, `${field}.podAffinityTerm.labelSelector`, report);
  });
}

import type { Cause } from "@trine/kube-types";
import type { Admit } from "./hook.ts";
import { faultsOf, isJudged } from "./judge-spec.ts";
import { refuseCauses, refuseReport } from "./refuse.ts";
import { ALLOWED } from "./review.ts";

/** Kinds that are judged by their schema and by the checks of their kind only. */
export const judgeObject: Admit = (_, request) => {
  const report = faultsOf(request);
  return report === undefined ? ALLOWED : refuseReport(report);
};

/** Kinds whose objects are wishes: kept, so that manifests apply, and told that nothing comes of them. */
export const judgeWish: Admit = (deps, request, signal) => {
  const verdict = judgeObject(deps, request, signal);
  if (request.operation !== "CREATE" || verdict instanceof Promise || !verdict.allowed) {
    return verdict;
  }
  const { kind } = request.kind;
  return { allowed: true, warnings: [`${kind} is kept, but nothing acts on it in this version`] };
};

/** The same of kinds whose spec says what was wanted once and for all. */
export function judgeOnce(admit: Admit, cause: Omit<Cause, "field"> & { field?: string }): Admit {
  return (deps, request, signal) => {
    if (request.operation === "UPDATE" && isJudged(request)) return refuseCauses([cause]);
    return admit(deps, request, signal);
  };
}

export const IMMUTABLE = {
  reason: "FieldValueInvalid",
  message: "spec in immutable after creation",
  field: "spec",
} as const;

export const IMMUTABLE_VOLUME = {
  reason: "FieldValueDuplicate",
  message: "Cannot update DataVolume Spec",
  field: "DataVolume.Spec",
} as const;

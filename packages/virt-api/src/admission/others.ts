import { checkChange } from "@trine/kube-types";
import type { Admit } from "./hook.ts";
import { faultsOf } from "./judge-spec.ts";
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

/** A change: first whether the one may become the other at all. */
export function judgeChanged(admit: Admit): Admit {
  return (deps, request, signal) => {
    const { operation, kind, object, oldObject, userInfo } = request;
    if (operation !== "UPDATE") return admit(deps, request, signal);
    const faults = checkChange({
      kind: kind.kind,
      before: oldObject ?? {},
      after: object ?? {},
      isSystem: deps.isSystem(userInfo.username),
    });
    return faults.length > 0 ? refuseCauses(faults) : admit(deps, request, signal);
  };
}

export const allow: Admit = () => ALLOWED;

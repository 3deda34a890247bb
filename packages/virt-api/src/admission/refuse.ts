import { type Cause, type Report, invalidStatus } from "@trine/kube-types";
import type { Verdict } from "./review.ts";

/** Refuses with what is wrong, field by field (422). */
export function refuseReport(report: Report): Verdict {
  const { message, reason, code, details } = invalidStatus(report);
  return { allowed: false, status: { message, reason, code, details } };
}

/** The same of faults whose messages are whole: KubeVirt's own words. */
export function refuseCauses(
  causes: readonly {
    readonly reason: Cause["reason"];
    readonly message: string;
    readonly field?: string;
  }[],
): Verdict {
  const message = causes.map((cause) => cause.message).join(", ");
  return {
    allowed: false,
    status: { message, reason: "Invalid", code: 422, details: { causes } },
  };
}

/** Refuses something that is wrong with no field (400). */
export function refuseBadly(message: string): Verdict {
  return { allowed: false, status: { message, code: 400 } };
}

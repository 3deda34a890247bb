import type { Cause, Report } from "./report.ts";

/** Names in the message; `details.causes` has the others too. */
const MAX_IN_MESSAGE = 10;

/** A `Status` of Kubernetes that refuses an object (HTTP 422). */
export interface InvalidStatus {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Readonly<Record<string, never>>;
  readonly status: "Failure";
  readonly message: string;
  readonly reason: "Invalid";
  readonly code: 422;
  readonly details: { readonly causes: readonly Cause[] };
}

/** How a refusal is told, in KubeVirt's form: the faults' messages in one line, ten at most. */
export function invalidStatus(report: Report): InvalidStatus {
  const messages = report.causes.slice(0, MAX_IN_MESSAGE).map(({ message }) => message);
  const more = report.count - messages.length;
  const rest = more > 0 ? [`and ${more} more validation errors`] : [];
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: [...messages, ...rest].join(", "),
    reason: "Invalid",
    code: 422,
    details: { causes: report.causes },
  };
}

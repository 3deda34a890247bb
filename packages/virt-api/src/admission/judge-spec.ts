import { isDeepStrictEqual } from "node:util";
import { type ObjectMeta, type Report, checkObject } from "@trine/kube-types";
import type { AdmissionRequest } from "./review.ts";

/** An object that is being written, as far as all kinds have it. */
interface Written {
  readonly metadata?: ObjectMeta;
  readonly spec?: unknown;
}

/**
 * Whether a write must pass the checks of its kind. What goes away must go, whatever it is; and rules that came later
 * than an object hold for it when somebody changes its spec, not when somebody labels it.
 */
export function isJudged({ operation, object, oldObject }: AdmissionRequest): boolean {
  if (operation === "CREATE") return true;
  if (operation !== "UPDATE") return false;
  const { metadata, spec } = (object ?? {}) as Written;
  if (metadata?.deletionTimestamp !== undefined) return false;
  return !isDeepStrictEqual(spec, ((oldObject ?? {}) as Written).spec);
}

/** The faults of an object that is judged; undefined where there are none. */
export function faultsOf(request: AdmissionRequest): Report | undefined {
  if (!isJudged(request)) return undefined;
  const report = checkObject(request.object);
  return report.count > 0 ? report : undefined;
}

import * as v from "valibot";
import { badRequest } from "../refusals/refusal.ts";
import type { Status } from "../refusals/refusal.ts";
import type { JsonPatchOperation } from "@trine/kube-client";

const object = v.record(v.string(), v.unknown());
const text = v.optional(v.string(), "");

const schema = v.object({
  apiVersion: v.literal("admission.k8s.io/v1"),
  kind: v.literal("AdmissionReview"),
  request: v.object({
    uid: v.pipe(v.string(), v.nonEmpty(), v.maxLength(256)),
    kind: v.object({ group: text, version: text, kind: text }),
    resource: v.object({ group: text, version: text, resource: text }),
    subResource: text,
    name: text,
    namespace: text,
    operation: v.picklist(["CREATE", "UPDATE", "DELETE", "CONNECT"]),
    userInfo: v.object({
      username: text,
      uid: v.optional(v.string()),
      groups: v.nullish(v.array(v.string())),
      extra: v.nullish(v.record(v.string(), v.array(v.string()))),
    }),
    object: v.nullish(object),
    oldObject: v.nullish(object),
    dryRun: v.nullish(v.boolean()),
  }),
});

/** What the API server asks. `object` is null of a deletion, `oldObject` of a creation. */
export type AdmissionRequest = v.InferOutput<typeof schema>["request"];

/** What is said to it. */
export type Verdict =
  | {
      readonly allowed: true;
      readonly patch?: readonly JsonPatchOperation[];
      readonly warnings?: readonly string[];
    }
  | { readonly allowed: false; readonly status: Refused };

/** The part of a Status that the API server passes on. */
type Refused = Pick<Status, "message" | "code"> & Partial<Pick<Status, "reason" | "details">>;

export const ALLOWED: Verdict = { allowed: true };

export function parseReview(body: unknown): AdmissionRequest {
  const checked = v.safeParse(schema, body, { abortEarly: true });
  if (checked.success) return checked.output.request;
  const [issue] = checked.issues;
  throw badRequest(`no AdmissionReview: ${v.getDotPath(issue) ?? ""}: ${issue.message}`);
}

/** The API server cuts longer ones, and drops all when they are long together. */
const MAX_WARNING = 250;
const MAX_WARNINGS = 15;

/** The answer to a review, as JSON. */
export function reviewAnswer({ uid }: Pick<AdmissionRequest, "uid">, verdict: Verdict): object {
  const response = verdict.allowed
    ? { uid, allowed: true, ...patchOf(verdict.patch), ...warningsOf(verdict.warnings) }
    : { uid, allowed: false, status: verdict.status };
  return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response };
}

function patchOf(operations: readonly JsonPatchOperation[] = []): object {
  if (operations.length === 0) return {};
  const patch = Buffer.from(JSON.stringify(operations)).toString("base64");
  return { patchType: "JSONPatch", patch };
}

function warningsOf(warnings: readonly string[] = []): object {
  if (warnings.length === 0) return {};
  const told = warnings.slice(0, MAX_WARNINGS).map((each) => each.slice(0, MAX_WARNING));
  const more = warnings.length - told.length;
  return { warnings: more > 0 ? [...told, `and ${more} more warnings`] : told };
}

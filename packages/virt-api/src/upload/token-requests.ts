import { TrineError, kindOf } from "@trine/base";
import { CLAIMS } from "@trine/kube-client";
import * as v from "valibot";
import type { Attributes } from "../access/authorization.ts";
import type { VirtApiDeps } from "../deps.ts";
import { type Answer, json } from "../http/answer.ts";
import { badRequest } from "../refusals/refusal.ts";
import { TOKEN_MS, makeToken } from "./upload-token.ts";

export const UPLOAD_GROUP = "upload.cdi.kubevirt.io";
export const UPLOAD_VERSION = "v1beta1";
const RESOURCE = "uploadtokenrequests";
const NAME = "[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?";
const PATH = new RegExp(
  `^/apis/${UPLOAD_GROUP}/${UPLOAD_VERSION}/namespaces/(${NAME})/${RESOURCE}/?$`,
);

const requestSchema = v.object({
  metadata: v.optional(v.record(v.string(), v.unknown())),
  spec: v.object({ pvcName: v.pipe(v.string(), v.regex(new RegExp(`^${NAME}$`))) }),
});

/** The namespace in which a token is asked for; undefined for other paths. */
export function tokenNamespace(path: string): string | undefined {
  return PATH.exec(path)?.[1];
}

/** The right that it takes. */
export function tokenAttributes(namespace: string): Attributes {
  return {
    verb: "create",
    group: UPLOAD_GROUP,
    version: UPLOAD_VERSION,
    namespace,
    resource: RESOURCE,
  };
}

/** A token for a claim of the namespace that is there. */
export async function requestToken(
  { kube, uploadKey, now }: Pick<VirtApiDeps, "kube" | "uploadKey" | "now">,
  namespace: string,
  body: Buffer,
  signal: AbortSignal,
): Promise<Answer> {
  const request = v.safeParse(requestSchema, parsed(body));
  if (!request.success) throw badRequest("spec.pvcName: the name of a claim is wanted");
  const { metadata, spec } = request.output;
  const { pvcName: name } = spec;
  let uid: string;
  try {
    ({ uid } = (await kube.get(CLAIMS, { namespace, name }, signal)).metadata);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
    throw new TrineError("notFound", `persistentvolumeclaim ${namespace}/${name} is not there`);
  }
  const claims = { namespace, name, uid, expires: now().getTime() + TOKEN_MS };
  return json(
    {
      apiVersion: `${UPLOAD_GROUP}/${UPLOAD_VERSION}`,
      kind: "UploadTokenRequest",
      metadata: { ...metadata, namespace },
      spec,
      status: { token: makeToken(claims, uploadKey()) },
    },
    201,
  );
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    throw badRequest("the body is no JSON");
  }
}

import { randomBytes } from "node:crypto";
import { TrineError } from "@trine/base";
import { type Cache, type KubeApi, SECRETS, type Secret } from "@trine/kube-client";
import { encoded, field } from "./authority/authority-secret.ts";
import { orNothing } from "./authority/or-nothing.ts";

/** Signs what may be copied out of other namespaces. */
const NAME = "trine-copy-key";
const FIELD = "key";
const BYTES = 32;

/** Sees that there is one, made once. Whoever takes it away ends what was allowed: those volumes are to be made anew. */
export async function keepCopyKey(
  of: { readonly api: Pick<KubeApi, "get" | "create" | "update">; readonly namespace: string },
  signal: AbortSignal,
): Promise<void> {
  const { api, namespace } = of;
  const at = { namespace, name: NAME };
  const there = await api.get(SECRETS, at, signal).catch(orNothing("notFound"));
  if (there !== undefined && keyIn(there) !== undefined) return;
  const data = encoded({ [FIELD]: randomBytes(BYTES).toString("hex") });
  if (there !== undefined) {
    await api.update(SECRETS, { ...there, data }, { signal });
    return;
  }
  const secret = { metadata: at, type: "Opaque", data };
  await api.create(SECRETS, secret, { signal }).catch(orNothing("alreadyExists"));
}

/** Kind `unavailable` until the leader has made it. */
export function copyKey(secrets: Cache<Secret>, namespace: string): Buffer {
  const secret = secrets.get(`${namespace}/${NAME}`);
  const key = secret && keyIn(secret);
  if (key !== undefined) return key;
  throw new TrineError("unavailable", `secret ${namespace}/${NAME}: has no key yet`);
}

function keyIn(secret: Secret): Buffer | undefined {
  const key = Buffer.from(field(secret, FIELD) ?? "", "hex");
  return key.length === BYTES ? key : undefined;
}

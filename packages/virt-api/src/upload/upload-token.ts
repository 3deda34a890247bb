import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import * as v from "valibot";

/** As long as CDI's. */
export const TOKEN_MS = 5 * 60_000;
const PREFIX = "trine-upload-v1";
const MAX_TOKEN = 2_048;

const claimsSchema = v.object({
  namespace: v.string(),
  name: v.string(),
  /** Of the claim: one of the same name that is made later is another. */
  uid: v.string(),
  expires: v.number(),
});

export type UploadClaims = v.InferOutput<typeof claimsSchema>;

/** A token for one claim; `key`: PEM, the same for all processes that serve the API. */
export function makeToken(claims: UploadClaims, key: string): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString("base64url");
  const signature = sign(null, digestOf(payload), createPrivateKey(key)).toString("base64url");
  return `${payload}.${signature}`;
}

/** What a token allows; undefined for one that is not ours, or over. */
export function readToken(token: string, key: string, now: Date): UploadClaims | undefined {
  if (token.length > MAX_TOKEN) return undefined;
  const [payload = "", signature = "", more] = token.split(".");
  if (payload === "" || signature === "" || more !== undefined) return undefined;
  const mark = Buffer.from(signature, "base64url");
  // A decoder drops what is no whole byte at the end: there is one text for one token.
  if (mark.toString("base64url") !== signature) return undefined;
  if (!verify(null, digestOf(payload), createPublicKey(key), mark)) return undefined;
  const claims = v.parse(
    claimsSchema,
    JSON.parse(Buffer.from(payload, "base64url").toString("utf8")),
  );
  return claims.expires > now.getTime() ? claims : undefined;
}

/** With what the signature is for: the key signs other things too. */
function digestOf(payload: string): Buffer {
  return createHash("sha256").update(`${PREFIX}\0${payload}`).digest();
}

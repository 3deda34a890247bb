import { createHmac, timingSafeEqual } from "node:crypto";

/** Of a DataVolume: that whoever made it was allowed to copy from another namespace, and what. The webhook's alone to write. */
export const COPY_GRANT = "trine.dev/copy-grant";

interface ClaimPlace {
  readonly namespace: string;
  readonly name: string;
}

/** Of a copy of the claim `from`, made in the namespace `to`. */
export function grantCopy(from: ClaimPlace, to: string, key: Buffer): string {
  return `${from.namespace}/${from.name}:${macOf(from, to, key).toString("base64url")}`;
}

/** The claim that may be copied to `to`; undefined for what is no grant of ours for that. */
export function readGrant(
  grant: string | undefined,
  to: string,
  key: Buffer,
): ClaimPlace | undefined {
  const [, namespace, name, mac = ""] = /^([^/:]+)\/([^/:]+):([\w-]+)$/.exec(grant ?? "") ?? [];
  if (namespace === undefined || name === undefined) return undefined;
  const from = { namespace, name };
  const wanted = macOf(from, to, key);
  const given = Buffer.from(mac, "base64url");
  return given.length === wanted.length && timingSafeEqual(given, wanted) ? from : undefined;
}

function macOf({ namespace, name }: ClaimPlace, to: string, key: Buffer): Buffer {
  const words = JSON.stringify(["trine-copy", namespace, name, to]);
  return createHmac("sha256", key).update(words).digest();
}

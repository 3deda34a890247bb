import { X509Certificate } from "node:crypto";
import { kindOf } from "@trine/base";
import {
  type KeyedCertificate,
  type Subject,
  issue,
  renewalOf,
  validityOf,
} from "@trine/certificates";
import { type KubeApi, SECRETS, type Secret, type Stored } from "@trine/kube-client";
import { encoded, field } from "./authority-secret.ts";
import { type AuthorityState, bundleOf } from "./authority-state.ts";

/** A certificate of ours that lives in a Secret. */
export interface Kept {
  /** Of the Secret. */
  readonly name: string;
  readonly subject: Subject;
  readonly usage: "serverAuth" | "clientAuth";
}

const DAY_MS = 86_400_000;
const LIFE_MS = 90 * DAY_MS;

interface KeptDeps {
  readonly api: Pick<KubeApi, "get" | "create" | "update">;
  readonly namespace: string;
  readonly now: () => number;
}

/** Sees that the certificate is there, is the active authority's and is young enough; makes another one where it is not. */
export async function keepCertificate(
  { api, namespace, now }: KeptDeps,
  kept: Kept,
  authority: AuthorityState,
  signal: AbortSignal,
): Promise<void> {
  const at = { namespace, name: kept.name };
  const there = await api.get(SECRETS, at, signal).catch((cause: unknown) => {
    if (kindOf(cause) !== "notFound") throw cause;
    return undefined;
  });
  if (there === undefined) {
    const data = dataOf(await issued(kept, authority, now()), authority);
    await api.create(SECRETS, { metadata: at, type: "kubernetes.io/tls", data }, { signal });
    return;
  }
  if (!isGood(there, kept, authority, now())) {
    const data = dataOf(await issued(kept, authority, now()), authority);
    await api.update(SECRETS, { ...there, data }, { signal });
  } else if (field(there, "ca.crt") !== bundleOf(authority)) {
    const data = { ...there.data, ...encoded({ "ca.crt": bundleOf(authority) }) };
    await api.update(SECRETS, { ...there, data }, { signal });
  }
}

/** A certificate with its key and whom its holder believes, as its Secret has them; undefined where that is not whole. */
export function readKept(
  secret: Stored<Secret>,
): (KeyedCertificate & { readonly authority: string }) | undefined {
  const certificate = field(secret, "tls.crt");
  const key = field(secret, "tls.key");
  const authority = field(secret, "ca.crt");
  if (certificate === undefined || key === undefined || authority === undefined) return undefined;
  return { certificate, key, authority };
}

function dataOf(pair: KeyedCertificate, authority: AuthorityState): Record<string, string> {
  return encoded({
    "tls.crt": pair.certificate,
    "tls.key": pair.key,
    "ca.crt": bundleOf(authority),
  });
}

function issued(kept: Kept, authority: AuthorityState, nowMs: number): Promise<KeyedCertificate> {
  const { subject, usage } = kept;
  return issue(authority.active, { subject, usages: [usage], lifeMs: LIFE_MS, nowMs });
}

function isGood(secret: Secret, kept: Kept, authority: AuthorityState, nowMs: number): boolean {
  const text = field(secret, "tls.crt");
  if (text === undefined || field(secret, "tls.key") === undefined) return false;
  try {
    const certificate = new X509Certificate(text);
    const { dnsNames = [], addresses = [] } = kept.subject;
    return (
      nowMs < renewalOf(validityOf(text)) &&
      certificate.verify(new X509Certificate(authority.active.certificate).publicKey) &&
      dnsNames.every((name) => certificate.checkHost(name) !== undefined) &&
      addresses.every((address) => certificate.checkIP(address) !== undefined)
    );
  } catch {
    // Somebody has put something else there.
    return false;
  }
}

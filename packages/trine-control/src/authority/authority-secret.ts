import { TrineError } from "@trine/base";
import { validityOf } from "@trine/certificates";
import type { Secret } from "@trine/kube-client";
import type { AuthorityState } from "./authority-state.ts";

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g;

/** The authority as a Secret keeps it. */
export function authorityData(state: AuthorityState): Record<string, string> {
  const { active, next, previous } = state;
  const fields = {
    "tls.crt": active.certificate,
    "tls.key": active.key,
    ...(next !== undefined && { "next.crt": next.certificate, "next.key": next.key }),
    ...(previous.length > 0 && { "previous.crt": previous.join("") }),
  };
  return encoded(fields);
}

/** Reads it back; kind `invalid`, without a word of what is in it, where something is missing or no certificate. */
export function readAuthority(secret: Secret): AuthorityState {
  const what = `secret ${secret.metadata?.namespace ?? ""}/${secret.metadata?.name ?? ""}`;
  const certificate = field(secret, "tls.crt");
  const key = field(secret, "tls.key");
  if (certificate === undefined || key === undefined) {
    throw new TrineError("invalid", `${what}: has no tls.crt or no tls.key; delete it, or mend it`);
  }
  const [nextCertificate, nextKey] = [field(secret, "next.crt"), field(secret, "next.key")];
  const previous = field(secret, "previous.crt")?.match(CERTIFICATES) ?? [];
  for (const each of [certificate, ...previous]) validityOf(each);
  return {
    active: { certificate, key },
    ...(nextCertificate !== undefined &&
      nextKey !== undefined && { next: { certificate: nextCertificate, key: nextKey } }),
    previous,
  };
}

export function field({ data = {} }: Secret, name: string): string | undefined {
  const value = data[name];
  return value === undefined ? undefined : Buffer.from(value, "base64").toString();
}

export function encoded(fields: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(fields);
  return Object.fromEntries(
    entries.map(([name, text]) => [name, Buffer.from(text).toString("base64")]),
  );
}

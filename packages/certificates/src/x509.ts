import type { webcrypto } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import { type JsonGeneralName, type JsonName, SubjectAlternativeNameExtension } from "./library.ts";

/** Every key here: P-256, which all that we speak with knows, and SHA-256. */
export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** Who a certificate is for. */
export interface Subject {
  /** Its common name: to Kubernetes the user. */
  readonly name: string;
  /** To Kubernetes the user's groups. */
  readonly organisations?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** IPv4 and IPv6, as text. */
  readonly addresses?: readonly string[];
}

/** PEM; the key as PKCS#8. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly key: string;
}

export function subjectName({ name, organisations = [] }: Subject): JsonName {
  return [...organisations.map((each) => ({ O: [each] })), { CN: [name] }];
}

function servedNames({ dnsNames = [], addresses = [] }: Subject): JsonGeneralName[] {
  return [
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...addresses.map((value) => ({ type: "ip" as const, value })),
  ];
}

/** None where the subject serves nothing. */
export function servedExtension(subject: Subject): SubjectAlternativeNameExtension[] {
  const names = servedNames(subject);
  return names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)];
}

/** An address in the one way of writing it that Node's URL has; undefined for what is none. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text)) return undefined;
  return URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
}

export function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

export async function keyToPem(key: webcrypto.CryptoKey): Promise<string> {
  return pem("PRIVATE KEY", Buffer.from(await crypto.subtle.exportKey("pkcs8", key)));
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

import { type webcrypto, createPrivateKey, randomBytes } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "./library.ts";
import { TrineError } from "@trine/base";
import {
  ALGORITHM,
  type KeyedCertificate,
  type Subject,
  generateKeys,
  keyToPem,
  servedExtension,
  subjectName,
} from "./x509.ts";

/** Valid from a little before now: clocks differ. */
const BACKDATE_MS = 5 * 60_000;

export interface Lifetime {
  readonly lifeMs: number;
  /** Now, as epoch; for tests. */
  readonly nowMs?: number;
}

export interface Issue extends Lifetime {
  readonly subject: Subject;
  readonly usages: readonly ("serverAuth" | "clientAuth")[];
}

/** A certificate authority of its own making, which signs certificates and nothing below another authority. */
export async function createAuthority(
  of: Lifetime & { readonly name: string },
): Promise<KeyedCertificate> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...validity(of),
    serialNumber: serial(),
    name: subjectName({ name: of.name }),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.digitalSignature, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: text(certificate), key: await keyToPem(keys.privateKey) };
}

/** A key of its own and a certificate for it. */
export async function issue(authority: KeyedCertificate, of: Issue): Promise<KeyedCertificate> {
  const keys = await generateKeys();
  const certificate = await certify(authority, of, keys.publicKey);
  return { certificate, key: await keyToPem(keys.privateKey) };
}

/** A certificate for a key that another one holds; PEM. It ends with its authority, if that is sooner. */
export async function certify(
  authority: KeyedCertificate,
  of: Issue,
  publicKey: webcrypto.CryptoKey,
): Promise<string> {
  const issuer = new X509Certificate(authority.certificate);
  const { notBefore, notAfter } = validity(of);
  const certificate = await X509CertificateGenerator.create({
    notBefore: notBefore < issuer.notBefore ? issuer.notBefore : notBefore,
    notAfter: notAfter > issuer.notAfter ? issuer.notAfter : notAfter,
    serialNumber: serial(),
    subject: subjectName(of.subject),
    issuer: issuer.subjectName,
    publicKey,
    signingKey: await signingKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(of.usages.map((usage) => ExtendedKeyUsage[usage])),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer),
      ...servedExtension(of.subject),
    ],
  });
  return text(certificate);
}

function validity({ lifeMs, nowMs = Date.now() }: Lifetime): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + lifeMs) };
}

/** 127 random bits: positive whatever they are. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8(bytes.readUInt8(0) & 0x7f, 0);
  return bytes.toString("hex");
}

async function signingKey(key: string): Promise<webcrypto.CryptoKey> {
  try {
    const der = createPrivateKey(key).export({ type: "pkcs8", format: "der" });
    return await crypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
  } catch {
    // What it says of the key is left out.
    throw new TrineError("invalid", "the authority's key: not a P-256 key in PEM");
  }
}

function text(certificate: X509Certificate): string {
  return `${certificate.toString("pem").trim()}\n`;
}

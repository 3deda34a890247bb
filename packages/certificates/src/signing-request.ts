import type { webcrypto } from "node:crypto";
import {
  type Extension,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from "./library.ts";
import { TrineError } from "@trine/base";
import {
  ALGORITHM,
  type Subject,
  canonicalAddress,
  generateKeys,
  keyToPem,
  servedExtension,
  subjectName,
} from "./x509.ts";

const MAX_BYTES = 16 * 1024;
const MAX_NAMES = 64;

/** A new key (PKCS#8) and a request for a certificate of it (PKCS#10), both PEM. */
export async function createRequest(
  subject: Subject,
): Promise<{ readonly request: string; readonly key: string }> {
  const keys = await generateKeys();
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: subjectName(subject),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: servedExtension(subject),
  });
  return { request: `${request.toString("pem").trim()}\n`, key: await keyToPem(keys.privateKey) };
}

/** What a request asks for; its signature is by the key that it is for. */
export interface SigningRequest extends Required<Subject> {
  readonly publicKey: webcrypto.CryptoKey;
}

/**
 * Reads a request of a stranger. Kind `invalid` for anything but a P-256 key, one common name, organisations, DNS names
 * and addresses: what else somebody asks for is not ours to judge, and is not signed.
 */
export async function readRequest(pem: string): Promise<SigningRequest> {
  const request = parse(pem);
  const { name, organisations } = subjectOf(request);
  const names = request.extensions.flatMap((each) => namesIn(each));
  if (names.length > MAX_NAMES) throw refused(`has over ${MAX_NAMES} names`);
  const publicKey = await verified(request);
  return {
    name,
    organisations,
    dnsNames: names.flatMap(({ type, value }) => (type === "dns" ? [value] : [])),
    addresses: names.flatMap(({ type, value }) => (type === "ip" ? [value] : [])),
    publicKey,
  };
}

function parse(pem: string): Pkcs10CertificateRequest {
  if (pem.length > MAX_BYTES) throw refused(`is over ${MAX_BYTES} bytes`);
  const body =
    /^\s*-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*$/.exec(
      pem,
    )?.[1];
  if (body === undefined) throw refused("is not one PKCS#10 block in PEM");
  try {
    return new Pkcs10CertificateRequest(Buffer.from(body, "base64"));
  } catch (cause) {
    throw new TrineError("invalid", "certificate request: is not PKCS#10", { cause });
  }
}

function subjectOf({ subjectName: asked }: Pkcs10CertificateRequest): {
  name: string;
  organisations: readonly string[];
} {
  const parts = asked.toJSON().flatMap((each) => Object.entries(each));
  const other = parts.find(([type]) => type !== "CN" && type !== "O");
  if (other !== undefined) throw refused(`its subject has ${other[0]}`);
  const valuesOf = (wanted: string): string[] =>
    parts.flatMap(([type, values]) => (type === wanted ? values : []));
  const [name, ...more] = valuesOf("CN");
  if (name === undefined || more.length > 0) throw refused("has not one common name");
  return { name, organisations: valuesOf("O") };
}

/** Subject alternative names; any other extension is refused. */
function namesIn(extension: Extension): { type: "dns" | "ip"; value: string }[] {
  if (!(extension instanceof SubjectAlternativeNameExtension)) {
    throw refused(`asks for extension ${extension.type}`);
  }
  return extension.names.items.map(({ type, value }) => {
    if (type === "dns") return { type, value };
    const address = type === "ip" ? canonicalAddress(value) : undefined;
    if (address === undefined) throw refused(`asks for a name of type ${type}`);
    return { type: "ip", value: address };
  });
}

async function verified(request: Pkcs10CertificateRequest): Promise<webcrypto.CryptoKey> {
  try {
    const key = await request.publicKey.export(ALGORITHM, ["verify"]);
    if (await request.verify()) return key;
  } catch (cause) {
    throw new TrineError("invalid", "certificate request: its key is not on P-256", { cause });
  }
  throw refused("its signature is not by its key");
}

function refused(why: string): TrineError {
  return new TrineError("invalid", `certificate request: ${why}`);
}

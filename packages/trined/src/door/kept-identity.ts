import { X509Certificate, createPrivateKey } from "node:crypto";
import { open, readFile, rename } from "node:fs/promises";
import { TrineError, errnoOf } from "@trine/base";
import * as v from "valibot";

const MAX_PEM = 64 * 1024;
const pem = v.pipe(v.string(), v.maxLength(MAX_PEM));

const schema = v.object({
  certificate: pem,
  key: pem,
  authority: pem,
  addresses: v.array(v.string()),
});

/** The node's certificate, and what it was asked for; in one file, so that they always belong together. */
export type KeptIdentity = v.InferOutput<typeof schema>;

/** Undefined where there is none, and where it is another node's or cannot be read: it is asked for anew then. */
export async function readIdentity(file: string, node: string): Promise<KeptIdentity | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw TrineError.during("the node's certificate", cause);
  }
  const kept = v.safeParse(schema, parseJson(text));
  return kept.success && belongs(kept.output, node) ? kept.output : undefined;
}

/** Root's alone; whole or not there. */
export async function writeIdentity(file: string, identity: KeptIdentity): Promise<void> {
  const fresh = `${file}.new`;
  {
    await using out = await open(fresh, "w", 0o600);
    await out.chmod(0o600);
    await out.writeFile(JSON.stringify(identity));
    await out.sync();
  }
  await rename(fresh, file);
}

/** Whether a certificate is the node's, and of this key. */
export function belongs(
  { certificate, key }: Pick<KeptIdentity, "certificate" | "key">,
  node: string,
): boolean {
  try {
    const read = new X509Certificate(certificate);
    const isOurs = read.checkPrivateKey(createPrivateKey(key));
    return isOurs && read.subject.split("\n").includes(`CN=trine-node:${node}`);
  } catch {
    return false; // no certificate, no key: none of ours
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Whether one of an authority's certificates has signed it. */
export function isSignedBy(certificate: string, authority: string): boolean {
  try {
    const read = new X509Certificate(certificate);
    return (authority.match(CERTIFICATE) ?? []).some((each) =>
      read.verify(new X509Certificate(each).publicKey),
    );
  } catch {
    return false; // no certificate is nobody's
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

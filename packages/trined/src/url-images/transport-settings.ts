import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { HttpSettings } from "@trine/image-import";
import type { ImageTransport } from "./image-mapping.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/;

/** Of one entry of a transport: authorities, and who we are. In PEM. */
interface Certificates {
  readonly authorities: readonly string[];
  readonly own?: { readonly cert: string; readonly key: string };
}

/**
 * How a transport of a mapping is fetched by. Authorities go to a file in `dir`. Kind `invalid`, without a word of keys, for
 * certificates that cannot be used.
 */
export async function transportSettings(
  { proxy, maxRedirects, tls }: ImageTransport,
  dir: string,
): Promise<Partial<HttpSettings>> {
  const each = (tls?.certificates ?? []).map(certificatesOf);
  const trusted = each.flatMap(({ authorities }) => authorities);
  const [certificate, second] = each.flatMap(({ own }) => own ?? []);
  if (second !== undefined) throw wrong("two certificates of our own: one is wanted");
  const caFile = join(dir, "ca.pem");
  if (trusted.length > 0) await writeFile(caFile, trusted.join("\n"), { mode: 0o600 });
  const serverName = tls?.serverName ?? "";
  return {
    ...(proxy === "" ? {} : { proxy }),
    ...(trusted.length > 0 && { caFile }),
    ...(typeof maxRedirects === "number" && { maxRedirects }),
    ownServer: {
      insecure: tls?.insecure === true,
      ...(serverName !== "" && { serverName }),
      ...(certificate !== undefined && { certificate }),
    },
  };
}

/** As Virtlet has it: one of an authority is trusted, another is ours where it has a key, and else nothing. */
function certificatesOf({ cert, key }: { cert: string; key: string }): Certificates {
  const text = `${key}\n${cert}`;
  const all = text.match(CERTIFICATE) ?? [];
  if (all.length === 0) throw wrong("an entry without a certificate in PEM");
  const authorities = all.filter(isAuthority);
  const chain = all.filter((each) => !authorities.includes(each));
  const [own] = KEY.exec(text) ?? [];
  return own === undefined || chain.length === 0
    ? { authorities }
    : { authorities, own: { cert: chain.join("\n"), key: own } };
}

function isAuthority(certificate: string): boolean {
  try {
    return new X509Certificate(certificate).ca;
  } catch (cause) {
    throw new TrineError("invalid", `${WHAT}: a certificate that cannot be read`, { cause });
  }
}

const WHAT = "image mapping: a transport's tls.certificates";

function wrong(why: string): TrineError {
  return new TrineError("invalid", `${WHAT}: ${why}`);
}

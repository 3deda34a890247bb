import type { User } from "./user.ts";

/** How the API server in front of us says who asks (ConfigMap kube-system/extension-apiserver-authentication). */
export interface FrontProxySettings {
  /** PEM: whom its certificates are signed by. */
  readonly authority: string;
  /** Common names it may have; empty: any that the authority signed. */
  readonly allowedNames: readonly string[];
  readonly userHeaders: readonly string[];
  readonly uidHeaders: readonly string[];
  readonly groupHeaders: readonly string[];
  readonly extraPrefixes: readonly string[];
}

/** The client's certificate as TLS has checked it against the front proxy's authority. */
export interface PeerCertificate {
  readonly authorized: boolean;
  readonly commonName: string | undefined;
}

/** Whether who is at the other end may say who asks. */
export function isFrontProxy(settings: FrontProxySettings, peer: PeerCertificate): boolean {
  if (!peer.authorized || peer.commonName === undefined) return false;
  const { allowedNames } = settings;
  return allowedNames.length === 0 || allowedNames.includes(peer.commonName);
}

/**
 * Who the front proxy says asks; undefined where it names no user. `headers` are those of a request whose sender is
 * `isFrontProxy`: of anybody else's they mean nothing.
 */
export function userOfHeaders(
  settings: FrontProxySettings,
  headers: Readonly<Record<string, readonly string[] | undefined>>,
): User | undefined {
  const first = (names: readonly string[]): string | undefined =>
    names.flatMap((name) => headers[name.toLowerCase()] ?? []).find((value) => value !== "");
  const name = first(settings.userHeaders);
  if (name === undefined) return undefined;
  const uid = first(settings.uidHeaders);
  return {
    name,
    ...(uid !== undefined && { uid }),
    groups: settings.groupHeaders.flatMap((header) => headers[header.toLowerCase()] ?? []),
    extra: extraOf(settings, headers),
  };
}

function extraOf(
  { extraPrefixes }: FrontProxySettings,
  headers: Readonly<Record<string, readonly string[] | undefined>>,
): Record<string, readonly string[]> {
  // Without a prototype: a key is whatever the header says.
  const extra = Object.create(null) as Record<string, readonly string[]>;
  for (const [header, values = []] of Object.entries(headers)) {
    const prefix = extraPrefixes.find(
      (each) => each !== "" && header.startsWith(each.toLowerCase()),
    );
    if (prefix === undefined) continue;
    const key = unescaped(header.slice(prefix.length));
    extra[key] = [...(extra[key] ?? []), ...values];
  }
  return extra;
}

/** Keys are percent-encoded where a header's name could not hold them; what is no encoding stands for itself. */
function unescaped(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

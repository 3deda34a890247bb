import { TrineError, quote } from "@trine/base";

/** Who we are to one server. Never part of a message. */
export type Credentials =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  | { readonly kind: "bearer"; readonly token: string };

/** The credentials for a host (with its port, where it is not the usual one). */
export type CredentialsOf = (host: string) => Credentials | undefined;

const MAX_BYTES = 1024 * 1024;

/**
 * Reads the `auths` of a file as docker, podman and skopeo keep it. Kind `invalid`, without a word of its
 * content, for others.
 */
export function parseAuthFile(text: string, name: string): CredentialsOf {
  const wrong = (why: string): TrineError =>
    new TrineError("invalid", `credentials file ${quote(name)}: ${why}`);
  if (text.length > MAX_BYTES) throw wrong("it is too long");
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw wrong("it is not JSON"); // the parser's own words would quote it
  }
  const auths = field(content, "auths");
  if (typeof auths !== "object" || auths === null) throw wrong("it has no object `auths`");
  const known = new Map<string, Credentials>();
  for (const [server, entry] of Object.entries(auths)) {
    const found = entryOf(entry);
    if (found === undefined) throw wrong(`the entry for ${quote(server)} holds no credentials`);
    known.set(hostOf(server), found);
  }
  return (host) => known.get(host);
}

/** One pair for whatever is asked. */
export function sameForAll(credentials: Credentials): CredentialsOf {
  return () => credentials;
}

export function authorization(credentials: Credentials | undefined): Record<string, string> {
  if (credentials === undefined) return {};
  if (credentials.kind === "bearer") return { authorization: `Bearer ${credentials.token}` };
  const { username, password } = credentials;
  const pair = Buffer.from(`${username}:${password}`, "utf8").toString("base64");
  return { authorization: `Basic ${pair}` };
}

function entryOf(entry: unknown): Credentials | undefined {
  const token = field(entry, "registrytoken");
  if (isWord(token)) return { kind: "bearer", token };
  const [username, password] = [field(entry, "username"), field(entry, "password")];
  if (typeof username === "string" && typeof password === "string") {
    return { kind: "basic", username, password };
  }
  const auth = field(entry, "auth");
  if (typeof auth !== "string") return undefined;
  const pair = Buffer.from(auth, "base64").toString("utf8");
  const at = pair.indexOf(":");
  if (at < 1) return undefined;
  return { kind: "basic", username: pair.slice(0, at), password: pair.slice(at + 1) };
}

function isWord(value: unknown): value is string {
  return typeof value === "string" && /^[\x21-\x7e]+$/.test(value);
}

function field(value: unknown, key: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.entries(value).find(([name]) => name === key)?.[1] as unknown;
}

/** `https://HOST/v1/` and `HOST/path` of old files are `HOST`. */
function hostOf(server: string): string {
  return server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

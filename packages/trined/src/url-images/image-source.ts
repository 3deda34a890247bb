import { TrineError, quote } from "@trine/base";
import { parseChecksum } from "@trine/image-import";
import type { Checksum, Credentials } from "@trine/image-import";
import { translate, unreadable } from "./image-mapping.ts";
import type { ImageMapping, ImageTransport } from "./image-mapping.ts";

const PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const NAME = new RegExp(
  `^(?<path>${PART}(?:/${PART})*)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$`,
);
const MAX_NAME = 255;

/** What names are taken, and where those lead that no mapping has. */
export interface SourceRules {
  /** `virtlet.cloud/` */
  readonly prefix: string;
  /** Servers that pods may name themselves: `HOST`, `*.DOMAIN` or `*`. */
  readonly hosts: readonly string[];
  readonly protocol: "https" | "http";
}

/** A file to fetch. */
export interface ImageSource {
  /** Without a name or password in it. */
  readonly url: URL;
  /** Of the URL itself. */
  readonly credentials?: Credentials;
  readonly checksum?: Checksum;
  readonly transport?: ImageTransport | undefined;
  /** Where its server may lead; absent: anywhere, as whoever wrote the mapping trusts it. */
  readonly mayFollow?: (url: URL) => boolean;
  /** The name of the image in a store, as CRI looks for it. */
  readonly reference: string;
}

/**
 * What the image of a name is. Kind `invalid` for a name that is none, `forbidden` for a server that pods may not name: trined would
 * fetch from where the pod itself cannot.
 */
export function sourceOf(
  name: string,
  mappings: readonly ImageMapping[],
  { prefix, hosts, protocol }: SourceRules,
): ImageSource {
  const groups = name.length > MAX_NAME ? undefined : NAME.exec(name.slice(prefix.length))?.groups;
  const path = groups?.["path"];
  if (!name.startsWith(prefix) || path === undefined) {
    throw new TrineError(
      "invalid",
      `image ${quote(name)}: not ${prefix}HOST/PATH or a mapped name`,
    );
  }
  const { tag = "latest", digest } = groups ?? {};
  const found = translate(mappings, path);
  if (found === undefined) requireHost(path, hosts, unreadable(mappings));
  const url = URL.parse(found?.url ?? `${protocol}://${path}`);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw new TrineError("invalid", `image ${quote(name)}: its URL is none of http or https`);
  }
  const { username, password } = url;
  url.username = "";
  url.password = "";
  return {
    url,
    ...(username === "" ? {} : { credentials: basic(username, password) }),
    ...(digest === undefined ? {} : { checksum: parseChecksum(digest) }),
    transport: found?.transport,
    // No more than the name itself could say, which has no port.
    ...(found === undefined && {
      mayFollow: ({ hostname, port }: URL) => port === "" && isAllowed(hostname, hosts),
    }),
    reference: `${prefix}${path}${digest === undefined ? `:${tag}` : `@${digest}`}`,
  };
}

function basic(username: string, password: string): Credentials {
  const [name, word] = [decodeURIComponent(username), decodeURIComponent(password)];
  return { kind: "basic", username: name, password: word };
}

function requireHost(path: string, hosts: readonly string[], notRead: readonly string[]): void {
  const [host = ""] = path.split("/");
  if (isAllowed(host, hosts) && path.includes("/")) return;
  const what = `image ${quote(path)}: no mapping has this name, and gateway.urlImages.hosts has no server ${quote(host)}`;
  const but = notRead.length === 0 ? "" : `; mappings with errors: ${notRead.join("; ")}`;
  throw new TrineError("forbidden", `${what}${but}`);
}

function isAllowed(host: string, hosts: readonly string[]): boolean {
  return hosts.some(
    (each) =>
      each === "*" || each === host || (each.startsWith("*.") && host.endsWith(each.slice(1))),
  );
}

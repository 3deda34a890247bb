import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { TrineError } from "@trine/base";
import { parse } from "yaml";
import type { KubeConnection, Material } from "./connection.ts";

const MAX_BYTES = 1024 * 1024;

/** What runs programs or needs another library: refused by name, never skipped in silence. */
const REFUSED = ["exec", "auth-provider", "username", "password", "as", "as-uid", "as-groups"];

type Fields = Readonly<Record<string, unknown>>;

/** Reads a kubeconfig, as kubectl writes it; kind `notFound` or `invalid`. Paths in it are relative to its directory. */
export async function readKubeconfig(path: string, context?: string): Promise<KubeConnection> {
  const text = await readBounded(path);
  return parseKubeconfig(text, { what: `kubeconfig ${path}`, dir: dirname(path), context });
}

async function readBounded(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES)
      throw new TrineError("invalid", `kubeconfig ${path}: over ${MAX_BYTES} B`);
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code ?? "unreadable";
    throw new TrineError("notFound", `kubeconfig ${path}: ${code}`, { cause });
  }
}

function parseKubeconfig(
  text: string,
  of: { readonly what: string; readonly dir: string; readonly context?: string | undefined },
): KubeConnection {
  const reader = new Reader(of.what, of.dir);
  const document = reader.document(text);
  const context = reader.named(document, "contexts", of.context ?? document["current-context"]);
  const chosen = reader.part(context, "context");
  const cluster = reader.part(reader.named(document, "clusters", chosen["cluster"]), "cluster");
  const user = reader.part(reader.named(document, "users", chosen["user"]), "user");
  reader.refuse(user, REFUSED, "user");
  reader.refuse(cluster, ["proxy-url"], "cluster");
  const namespace = reader.text(chosen, "namespace") ?? "default";
  const serverName = reader.text(cluster, "tls-server-name");
  return {
    server: reader.server(cluster),
    namespace,
    ...reader.materials({
      authority: [cluster, "certificate-authority"],
      clientCertificate: [user, "client-certificate"],
      clientKey: [user, "client-key"],
    }),
    ...reader.token(user),
    ...(serverName !== undefined && { serverName }),
    ...(cluster["insecure-skip-tls-verify"] === true && { insecure: true }),
  };
}

/** Looks fields up and says where one is wrong; what stands in a field is never in a message. */
class Reader {
  readonly #what: string;
  readonly #dir: string;

  constructor(what: string, dir: string) {
    this.#what = what;
    this.#dir = dir;
  }

  document(text: string): Fields {
    let document: unknown;
    try {
      document = parse(text, { maxAliasCount: 16, logLevel: "silent" });
    } catch {
      // The parser's words have the line, which may be a key.
      throw this.#fault("is not YAML");
    }
    return this.#fields(document, "the document");
  }

  named(document: Fields, list: string, name: unknown): Fields {
    if (typeof name !== "string" || name === "") throw this.#fault(`names none of its ${list}`);
    const entries: unknown = document[list];
    const found: unknown = Array.isArray(entries)
      ? entries.find((entry: unknown) => this.#fields(entry, list)["name"] === name)
      : undefined;
    if (found === undefined) throw this.#fault(`has no "${name}" among its ${list}`);
    return found as Fields;
  }

  part(entry: Fields, name: string): Fields {
    return this.#fields(entry[name] ?? {}, name);
  }

  text(fields: Fields, name: string): string | undefined {
    const value = fields[name];
    if (value === undefined || value === null || value === "") return undefined;
    if (typeof value !== "string") throw this.#fault(`${name} is no text`);
    return value;
  }

  refuse(fields: Fields, names: readonly string[], of: string): void {
    const name = names.find((each) => fields[each] !== undefined && fields[each] !== null);
    if (name === undefined) return;
    throw this.#fault(`${of}.${name} is not supported; use a certificate or a token`);
  }

  server(cluster: Fields): URL {
    const text = this.text(cluster, "server") ?? "";
    const server = URL.parse(text);
    if (server === null) throw this.#fault("cluster.server is no URL");
    if (server.protocol !== "https:") throw this.#fault("cluster.server is not https");
    if (server.username !== "" || server.password !== "") {
      throw this.#fault("cluster.server has a user in it");
    }
    return server;
  }

  materials(
    wanted: Readonly<
      Record<"authority" | "clientCertificate" | "clientKey", readonly [Fields, string]>
    >,
  ): Partial<KubeConnection> {
    const found = Object.entries(wanted).flatMap(([name, [fields, field]]) => {
      const material = this.#material(fields, field);
      return material === undefined ? [] : [[name, material] as const];
    });
    const materials: Partial<KubeConnection> = Object.fromEntries(found);
    if ((materials.clientCertificate === undefined) !== (materials.clientKey === undefined)) {
      throw this.#fault("client-certificate and client-key go together");
    }
    return materials;
  }

  token(user: Fields): { readonly token?: Material } {
    const path = this.text(user, "tokenFile");
    if (path !== undefined) return { token: { path: resolve(this.#dir, path) } };
    const text = this.text(user, "token");
    return text === undefined ? {} : { token: { text } };
  }

  /** `NAME-data` (base64) goes before `NAME` (a path), as in kubectl. */
  #material(fields: Fields, name: string): Material | undefined {
    const data = this.text(fields, `${name}-data`);
    if (data !== undefined) return { text: Buffer.from(data, "base64").toString() };
    const path = this.text(fields, name);
    return path === undefined ? undefined : { path: resolve(this.#dir, path) };
  }

  #fields(value: unknown, what: string): Fields {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Fields;
    }
    throw this.#fault(`${what}: not an object`);
  }

  #fault(problem: string): TrineError {
    return new TrineError("invalid", `${this.#what}: ${problem}`);
  }
}

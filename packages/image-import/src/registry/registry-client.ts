import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError, quote } from "@trine/base";
import { authorization } from "../fetch/credentials.ts";
import type { CredentialsOf } from "../fetch/credentials.ts";
import type { HttpAnswer, HttpRequest, HttpSettings } from "../fetch/http-client.ts";
import { HttpClient, parseUrl, shown } from "../fetch/http-client.ts";

const MAX_TOKEN = 64 * 1024;

/** One repository of a registry, as the OCI distribution specification 1.1 has it. */
export class RegistryClient {
  readonly #http: HttpClient;
  readonly #credentials: CredentialsOf;
  readonly #base: URL;
  #token: string | undefined;

  private constructor(http: HttpClient, credentials: CredentialsOf, base: URL) {
    this.#http = http;
    this.#credentials = credentials;
    this.#base = base;
  }

  /** `base`: `https://HOST/v2/REPOSITORY/`. */
  static async create(settings: HttpSettings, base: URL): Promise<RegistryClient> {
    // The registry says where to upload to: another host is told nothing that was meant for this one.
    const credentials: CredentialsOf = (host) =>
      host === base.host ? settings.credentials(host) : undefined;
    return new RegistryClient(
      await HttpClient.create({ ...settings, credentials }),
      credentials,
      base,
    );
  }

  async hasBlob(digest: string, signal: AbortSignal): Promise<boolean> {
    const url = new URL(`blobs/${digest}`, this.#base);
    const { status } = await this.#ask({ url, method: "HEAD" }, [200, 404], signal);
    return status === 200;
  }

  /** Sends a blob in one piece; the registry compares its digest. */
  async putBlob(
    blob: { digest: string; sizeBytes: number; chunks: () => AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ): Promise<void> {
    const start = new URL("blobs/uploads/", this.#base);
    const { message, url } = await this.#ask(
      { url: start, method: "POST", headers: { "content-length": "0" } },
      [202],
      signal,
    );
    const location = message.headers.location;
    const target = location === undefined ? null : URL.parse(location, url);
    if (target === null) {
      throw new TrineError("internal", `${shown(url)}: the registry names no place to upload to`);
    }
    if (target.protocol !== url.protocol) {
      throw new TrineError("invalid", `${shown(url)}: the registry leads to ${target.protocol}`);
    }
    target.searchParams.set("digest", blob.digest);
    const headers = {
      "content-type": "application/octet-stream",
      "content-length": String(blob.sizeBytes),
    };
    const body = Readable.from(blob.chunks(), { objectMode: false });
    await this.#ask({ url: target, method: "PUT", headers, body }, [201], signal);
  }

  async putManifest(
    tag: string,
    manifest: { mediaType: string; bytes: Buffer },
    signal: AbortSignal,
  ): Promise<void> {
    const url = new URL(`manifests/${tag}`, this.#base);
    const headers = {
      "content-type": manifest.mediaType,
      "content-length": String(manifest.bytes.length),
    };
    await this.#ask({ url, method: "PUT", headers, body: manifest.bytes }, [200, 201], signal);
  }

  /** Asks with what we have; a refusal that names a token server is answered with a token, once. */
  async #ask(
    request: HttpRequest,
    wanted: readonly number[],
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const answer = await this.#send(request, signal);
    const challenge = answer.message.headers["www-authenticate"];
    if (answer.status !== 401 || challenge === undefined) {
      return requireStatus(answer, wanted);
    }
    if (request.body instanceof Readable) return requireStatus(answer, wanted);
    answer.message.destroy();
    this.#token = await this.#tokenFor(challenge, signal);
    return requireStatus(await this.#send(request, signal), wanted);
  }

  async #send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const isOwn = request.url.origin === this.#base.origin;
    const token = isOwn ? this.#token : undefined;
    const own = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return this.#http.send(
      { ...request, headers: { ...request.headers, ...own }, follow: false },
      signal,
    );
  }

  /** `Bearer realm="…",service="…",scope="…"` (the distribution project's token specification). */
  async #tokenFor(challenge: string, signal: AbortSignal): Promise<string> {
    const fields = Object.fromEntries(
      [...challenge.matchAll(/([a-z]+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [
        key,
        value,
      ]),
    );
    const { realm, service, scope } = fields;
    if (!/^Bearer /i.test(challenge) || realm === undefined) {
      const advice = "--auth-file names credentials";
      throw new TrineError("unauthenticated", `${shown(this.#base)}: refused: ${advice}`);
    }
    const url = parseUrl(realm);
    if (this.#base.protocol === "https:" && url.protocol !== "https:") {
      throw new TrineError("invalid", `${shown(this.#base)}: its token server is not https`);
    }
    if (service !== undefined) url.searchParams.set("service", service);
    if (scope !== undefined) url.searchParams.set("scope", scope);
    // The token server is the registry's own choice: it gets what the registry would get.
    const headers = authorization(this.#credentials(this.#base.host));
    const answer = requireStatus(await this.#http.send({ url, headers }, signal), [200]);
    const body = (await text(answer.message)).slice(0, MAX_TOKEN);
    const token = /"(?:token|access_token)"\s*:\s*"([\x21\x23-\x7e]+)"/.exec(body)?.[1];
    if (token !== undefined) return token;
    throw new TrineError("unauthenticated", `${shown(url)}: the token server gives no token`);
  }
}

function requireStatus(answer: HttpAnswer, wanted: readonly number[]): HttpAnswer {
  const { status, message, url } = answer;
  message.resume();
  if (wanted.includes(status)) return answer;
  const what = `${shown(url)}: the registry answers ${status}`;
  if (status === 401)
    throw new TrineError("unauthenticated", `${what}: --auth-file names credentials`);
  if (status === 403) throw new TrineError("forbidden", what);
  if (status === 404) throw new TrineError("notFound", what);
  throw new TrineError(status >= 500 ? "unavailable" : "invalid", what);
}

/** The parts of REGISTRY/REPOSITORY:TAG. */
export function parseReference(name: string): { host: string; repository: string; tag: string } {
  const match = /^([^/]+)\/([a-z0-9][a-z0-9._/-]*):([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$/.exec(name);
  const [, host = "", repository = "", tag = ""] = match ?? [];
  if (match !== null) return { host, repository, tag };
  throw new TrineError("invalid", `image ${quote(name)}: REGISTRY/PATH:TAG is wanted to push to`);
}

import { Readable } from "node:stream";
import { TrineError, messageOf, quote } from "@trine/base";
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
  readonly #stallMs: number;
  #token: string | undefined;

  private constructor(http: HttpClient, settings: HttpSettings, base: URL) {
    this.#http = http;
    this.#credentials = settings.credentials;
    this.#stallMs = settings.stallMs;
    this.#base = base;
  }

  /** `base`: `https://HOST/v2/REPOSITORY/`. */
  static async create(settings: HttpSettings, base: URL): Promise<RegistryClient> {
    // The registry says where to upload to: another host is told nothing that was meant for this one.
    const credentials: CredentialsOf = (host) =>
      host === base.host ? settings.credentials(host) : undefined;
    const own = { ...settings, credentials };
    return new RegistryClient(await HttpClient.create(own), own, base);
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
      return headersOf(answer, wanted);
    }
    if (request.body instanceof Readable) return headersOf(answer, wanted);
    answer.message.destroy();
    this.#token = await this.#tokenFor(challenge, signal);
    return headersOf(await this.#send(request, signal), wanted);
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
    const answer = await this.#http.send({ url, headers }, signal);
    requireStatus(answer, [200]);
    const body = await this.#readToken(answer, signal);
    const token = /"(?:token|access_token)"\s*:\s*"([\x21\x23-\x7e]+)"/.exec(body)?.[1];
    if (token !== undefined) return token;
    throw new TrineError("unauthenticated", `${shown(url)}: the token server gives no token`);
  }

  /** The whole of a short answer, in the time that a silence may last. */
  async #readToken({ message, url }: HttpAnswer, signal: AbortSignal): Promise<string> {
    const late = setTimeout(() => {
      const what = `${shown(url)}: no token within ${this.#stallMs} ms`;
      message.destroy(new TrineError("timeout", what));
    }, this.#stallMs);
    let text = "";
    try {
      for await (const chunk of message.setEncoding("utf8") as AsyncIterable<string>) {
        text += chunk;
        if (text.length <= MAX_TOKEN) continue;
        throw new TrineError(
          "invalid",
          `${shown(url)}: more than ${MAX_TOKEN} characters of token`,
        );
      }
      return text;
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      if (cause instanceof TrineError) throw cause;
      const what = `${shown(url)}: cut off (${messageOf(cause)})`;
      throw new TrineError("unavailable", what, { cause });
    } finally {
      clearTimeout(late);
      message.destroy();
    }
  }
}

/** Of all answers but a token the headers say it all: a body is not read, nor waited for. */
function headersOf(answer: HttpAnswer, wanted: readonly number[]): HttpAnswer {
  answer.message.destroy();
  return requireStatus(answer, wanted);
}

function requireStatus(answer: HttpAnswer, wanted: readonly number[]): HttpAnswer {
  const { status, message, url } = answer;
  if (wanted.includes(status)) return answer;
  message.destroy();
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

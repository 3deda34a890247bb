import { readFile } from "node:fs/promises";
import { TrineError, errnoOf } from "@trine/base";
import type { KubeConnection, Material } from "./connection.ts";

/** Who we are and whom we trust, as bytes of this moment. */
export interface Credentials {
  readonly authority: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly token: string | undefined;
}

/** Tokens of pods change each hour at most, kubelet's certificate within days. */
const REREAD_MS = 10_000;

/** Reads a connection's files, and again when they may have been replaced. */
export class CredentialSource {
  readonly #connection: KubeConnection;
  #last: { readonly credentials: Promise<Credentials>; readonly atMs: number } | undefined;

  constructor(connection: KubeConnection) {
    this.#connection = connection;
  }

  /** Kind `unavailable` while a file cannot be read. */
  current(): Promise<Credentials> {
    const now = performance.now();
    if (this.#last !== undefined && now - this.#last.atMs < REREAD_MS) {
      return this.#last.credentials;
    }
    const credentials = this.#read();
    const last = { credentials, atMs: now };
    this.#last = last;
    credentials.catch(() => {
      if (this.#last === last) this.#last = undefined;
    });
    return credentials;
  }

  /** The server knows them no more: the next call reads them again. */
  doubt(): void {
    this.#last = undefined;
  }

  async #read(): Promise<Credentials> {
    const { authority, clientCertificate, clientKey, token } = this.#connection;
    const [ca, certificate, key, word] = await Promise.all([
      bytesOf("certificate authority", authority),
      bytesOf("client certificate", clientCertificate),
      bytesOf("client key", clientKey),
      bytesOf("token", token),
    ]);
    return { authority: ca, certificate, key, token: word?.trim() };
  }
}

async function bytesOf(what: string, from: Material | undefined): Promise<string | undefined> {
  if (from === undefined) return undefined;
  if ("text" in from) return from.text;
  try {
    return await readFile(from.path, "utf8");
  } catch (cause) {
    const why = errnoOf(cause) ?? "unreadable";
    throw new TrineError("unavailable", `${what} ${from.path}: ${why}`, { cause });
  }
}

import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { TrineError, messageOf } from "@trine/base";
import { parseAuthFile, sameForAll } from "@trine/image-import";
import type { CredentialsOf, HttpSettings } from "@trine/image-import";
import type { Io } from "../io.ts";

const MAX_PASSWORD = 64 * 1024;

export interface AuthFlags {
  readonly authFile?: string;
  readonly username?: string;
  readonly passwordStdin: boolean;
}

export interface HttpFlags extends AuthFlags {
  readonly proxy?: string;
  readonly caFile?: string;
  readonly stallTimeout: number;
}

/** How servers are reached; the environment names proxies, and may name the credentials' file. */
export async function httpSettings(io: Io, flags: HttpFlags): Promise<HttpSettings> {
  if (URL.parse(flags.proxy ?? "")?.password) {
    const advice = "HTTPS_PROXY and HTTP_PROXY of the environment may hold one";
    throw new TrineError("invalid", `--proxy: no password on the command line: ${advice}`);
  }
  return {
    ...(flags.proxy === undefined ? {} : { proxy: flags.proxy }),
    ...(flags.caFile === undefined ? {} : { caFile: flags.caFile }),
    environment: process.env,
    onRequest: io.onRequest,
    stallMs: flags.stallTimeout,
    credentials: await credentialsOf(io, flags),
  };
}

/** Nobody sees a password in the list of processes: it comes from a file or from stdin. */
export async function credentialsOf(io: Io, flags: AuthFlags): Promise<CredentialsOf> {
  const { username, passwordStdin } = flags;
  if ((username !== undefined) !== passwordStdin) {
    throw new TrineError("invalid", "--username and --password-stdin belong together");
  }
  if (username !== undefined) {
    const password = (await text(io.stdin)).replace(/\r?\n$/, "");
    if (password === "" || password.length > MAX_PASSWORD) {
      throw new TrineError("invalid", "--password-stdin: a password is wanted on stdin");
    }
    return sameForAll({ kind: "basic", username, password });
  }
  const file = flags.authFile ?? io.config.settings.authFile.value;
  if (file === "") return () => undefined;
  const content = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new TrineError("invalid", `credentials file: ${messageOf(cause)}`, { cause });
  });
  return parseAuthFile(content, file);
}

import { readSshKeys } from "@trine/annotations";
import type { MachineSettings } from "@trine/annotations";
import { TrineError, quote } from "@trine/base";
import type { JsonObject } from "../json-shape.ts";
import type { WantedCredentials } from "./credential-steps.ts";
import { readSource } from "./seed-volumes.ts";
import type { SourceContent } from "./seed-volumes.ts";
import { directoryOf, wholeText } from "./source-text.ts";

const MAX_KEYS = 256;
const MAX_USERS = 64;
const MAX_PASSWORD_BYTES = 1024;

/** The annotations that say where credentials are. */
export type CredentialSources = Pick<MachineSettings, "userKeysFrom" | "passwordsFrom">;

export function hasCredentials({ userKeysFrom, passwordsFrom }: CredentialSources): boolean {
  return userKeysFrom !== undefined || passwordsFrom !== undefined;
}

/** Reads the volumes as they are now. No message holds anything of a file. */
export async function readCredentials(
  { userKeysFrom = [], passwordsFrom = [] }: CredentialSources,
  spec: JsonObject,
): Promise<WantedCredentials> {
  const keys = new Map<string, readonly string[]>();
  for (const { user, from } of userKeysFrom) {
    const found = await during("user-keys-from", async () => keysIn(await readSource(spec, from)));
    keys.set(user, [...new Set([...(keys.get(user) ?? []), ...found])]);
  }
  const passwords = new Map<string, string>();
  for (const from of passwordsFrom) {
    await during("passwords-from", async () => {
      for (const [user, bytes] of directoryOf(await readSource(spec, from))) {
        const password = passwordIn(user, bytes);
        if (password !== "") passwords.set(user, password);
      }
    });
  }
  if (passwords.size > MAX_USERS) {
    const why = `annotation trine.dev/passwords-from: ${passwords.size} users, at most ${MAX_USERS}`;
    throw new TrineError("invalid", why);
  }
  return { keys, passwords };
}

async function during<T>(key: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw TrineError.during(`annotation trine.dev/${key}`, cause);
  }
}

function keysIn(content: SourceContent): readonly string[] {
  const files = content.kind === "file" ? [content.bytes] : [...content.files.values()];
  const text = files.map((bytes) => wholeText({ kind: "file", bytes })).join("\n");
  const read = readSshKeys(text, MAX_KEYS);
  if ("why" in read) throw new TrineError("invalid", read.why);
  return read.keys;
}

/** No more than a password is: the guest's tools read lines of USER:PASSWORD. */
const CONTROL = /[\u0000-\u001f\u007f]/; // eslint-disable-line no-control-regex -- those are what is refused

/** Without the blanks around it that editors leave. */
function passwordIn(user: string, bytes: Buffer): string {
  const password = wholeText({ kind: "file", bytes }).trim();
  if (bytes.length <= MAX_PASSWORD_BYTES && !CONTROL.test(password)) return password;
  const why = `has several lines, or more than ${MAX_PASSWORD_BYTES} bytes`;
  throw new TrineError("invalid", `the password of ${quote(user)} ${why}`);
}

import { TrineError } from "@trine/base";

const MAX_SHOWN = 80;

/** Throws kind `invalid`, naming the key, unless `ok`. */
export function requireValid(ok: boolean, key: string, why: string): asserts ok {
  if (!ok) throw new TrineError("invalid", `cloud-init ${key}: ${why}`);
}

/** A user's text for a message: one line, printable ASCII, in quotes, at most 80 characters. */
export function quote(text: string): string {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return JSON.stringify(shown).replace(
    /[^\x20-\x7e…]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

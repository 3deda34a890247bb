import { TrineError } from "@trine/base";

/** Throws kind `invalid`, naming the key, unless `ok`. */
export function requireValid(ok: boolean, key: string, why: string): asserts ok {
  if (!ok) throw new TrineError("invalid", `cloud-init ${key}: ${why}`);
}

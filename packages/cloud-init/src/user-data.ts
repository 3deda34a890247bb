import { requireValid } from "./require-valid.ts";
import { MAX_PARSED_CHARS, parseYaml } from "./yaml-text.ts";

const MAX_BYTES = 1024 * 1024;
const KEY = "user-data";

/**
 * The user's data, byte for byte: rewriting YAML would change what it means to another reader. Cloud-config
 * that is surely wrong is refused, for the guest's own complaint is easily missed; a long one is
 * left to the guest, for reading it would hold up other machines.
 */
export function userDataBytes(userData: string | undefined): Buffer {
  if (userData === undefined || userData === "") return Buffer.from("#cloud-config\n{}\n", "utf8");
  const bytes = Buffer.from(userData, "utf8");
  requireValid(bytes.length <= MAX_BYTES, KEY, `${bytes.length} bytes; the limit is ${MAX_BYTES}`);
  requireValid(userData.isWellFormed(), KEY, "is not well-formed Unicode text");
  if (isCloudConfig(userData) && userData.length <= MAX_PARSED_CHARS) checkMapping(userData);
  return bytes;
}

/** Whether the first line is the header; scripts, MIME parts, includes, templates and others have another. */
export function isCloudConfig(userData: string): boolean {
  return /^#cloud-config[ \t]*(\r?\n|$)/.test(userData);
}

function checkMapping(userData: string): void {
  const { kind } = parseYaml(userData, KEY);
  requireValid(
    kind !== "other",
    KEY,
    "#cloud-config is followed by something else than `key: value`",
  );
}

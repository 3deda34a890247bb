import { jsonAsYaml } from "./json-yaml.ts";
import { quote } from "@trine/base";
import { requireValid } from "./require-valid.ts";
import type { SeedInput } from "./seed-types.ts";
import { MAX_PARSED_CHARS, parseYaml } from "./yaml-text.ts";

const MAX_BYTES = 256 * 1024;
const MAX_KEYS = 256;
const MAX_KEY_CHARS = 16_384;
const HOSTNAME =
  /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * Identity and keys. SSH keys go here for every kind of user data: cloud-init adds them to those the user
 * data names, and the user data stays as it was written.
 */
export function metaDataBytes(input: SeedInput): Buffer {
  const { instanceId, hostname, sshKeys = [] } = input;
  requireValid(/^[\x21-\x7e]{1,256}$/.test(instanceId), "instance-id", quote(instanceId));
  requireValid(HOSTNAME.test(hostname), "local-hostname", `${quote(hostname)} is not a host name`);
  const document = {
    "instance-id": instanceId,
    "local-hostname": hostname,
    ...(sshKeys.length === 0 ? {} : { "public-keys": checkedKeys(sshKeys) }),
    ...overrides(input.metaData),
  };
  const bytes = jsonAsYaml(document);
  requireValid(bytes.length <= MAX_BYTES, "meta-data", `more than ${MAX_BYTES} bytes`);
  return bytes;
}

function checkedKeys(keys: readonly string[]): string[] {
  requireValid(
    keys.length <= MAX_KEYS,
    "ssh keys",
    `${keys.length} keys; the limit is ${MAX_KEYS}`,
  );
  return keys.map((key, i) => {
    const trimmed = key.trim();
    // Options may stand before the type, so what a line must have is two words.
    const isKey = /^[^\s#]\S*[ \t]+\S/.test(trimmed) && !/[\p{Cc}--\t]/v.test(trimmed);
    requireValid(isKey, `ssh keys[${i}]`, "is not one line of an authorized_keys file");
    requireValid(trimmed.length <= MAX_KEY_CHARS, `ssh keys[${i}]`, "is too long");
    return trimmed;
  });
}

function overrides(metaData: SeedInput["metaData"]): Readonly<Record<string, unknown>> {
  if (metaData === undefined) return {};
  if (typeof metaData !== "string") return metaData;
  requireValid(
    metaData.length <= MAX_PARSED_CHARS,
    "meta-data",
    `${metaData.length} characters; the limit is ${MAX_PARSED_CHARS}`,
  );
  const parsed = parseYaml(metaData, "meta-data");
  requireValid(parsed.kind !== "other", "meta-data", "is not a mapping of `key: value`");
  return parsed.kind === "empty" ? {} : (parsed.toValue() as Record<string, unknown>);
}

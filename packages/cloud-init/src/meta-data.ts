import { jsonAsYaml } from "./json-yaml.ts";
import { quote } from "@trine/base";
import { requireValid } from "./require-valid.ts";
import type { SeedInput } from "./seed-types.ts";
import { mappingOf } from "./yaml-text.ts";

const MAX_CHARS = 256 * 1024;
const MAX_KEYS = 256;
const MAX_KEY_CHARS = 16_384;
const HOSTNAME =
  /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/**
 * Identity and keys. SSH keys go here for every kind of user data: cloud-init adds them to those the user
 * data names, and the user data stays as it was written.
 */
export function metaDataBytes(input: SeedInput): Buffer {
  const { keys, overrides } = metaDataOf(input);
  return jsonAsYaml({
    "instance-id": input.instanceId,
    "local-hostname": input.hostname,
    ...(keys.length === 0 ? {} : { "public-keys": keys }),
    ...overrides,
  });
}

/** What the input says of it, checked: keys of the default user, and what the user sets over ours. */
export function metaDataOf(input: SeedInput): {
  readonly keys: readonly string[];
  readonly overrides: Readonly<Record<string, unknown>>;
} {
  const { instanceId, hostname, sshKeys = [] } = input;
  requireValid(/^[\x21-\x7e]{1,256}$/.test(instanceId), "instance-id", quote(instanceId));
  requireValid(HOSTNAME.test(hostname), "local-hostname", `${quote(hostname)} is not a host name`);
  const own = mappingOf(input.metaData ?? {}, "meta-data");
  const size = JSON.stringify(own).length;
  requireValid(size <= MAX_CHARS, "meta-data", `more than ${MAX_CHARS} characters`);
  return { keys: checkedKeys(sshKeys), overrides: own };
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

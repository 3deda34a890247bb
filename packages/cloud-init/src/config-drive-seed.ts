import { createHash } from "node:crypto";
import { jsonAsYaml } from "./json-yaml.ts";
import { metaDataOf } from "./meta-data.ts";
import { networkDataBytes } from "./network-data.ts";
import type { SeedFile, SeedInput } from "./seed-types.ts";
import { userDataBytes } from "./user-data.ts";
import { userNetwork } from "./user-network.ts";

const DIR = "openstack/latest";

/**
 * The files of an OpenStack ConfigDrive, for a disk labelled `config-2`. Pure; the same input gives the same bytes.
 * Kind `invalid`, naming the key, for input that no guest could use.
 */
export function configDriveSeed(input: SeedInput): readonly SeedFile[] {
  const { networkData, network, vendorData } = input;
  const files: SeedFile[] = [
    { name: `${DIR}/meta_data.json`, bytes: jsonAsYaml(metaData(input)) },
    { name: `${DIR}/user_data`, bytes: userDataBytes(input.userData) },
  ];
  const written =
    networkData === undefined
      ? network && networkDataBytes(network)
      : userNetwork(networkData, "configdrive");
  if (written !== undefined) files.push({ name: `${DIR}/network_data.json`, bytes: written });
  if (vendorData !== undefined) {
    const bytes = jsonAsYaml({ "cloud-init": vendorData });
    files.push({ name: `${DIR}/vendor_data.json`, bytes });
  }
  return files;
}

/** The same as NoCloud's under OpenStack's names; those of NoCloud stay, for what the user set is looked for under both. */
function metaData(input: SeedInput): Readonly<Record<string, unknown>> {
  const { keys, overrides } = metaDataOf(input);
  const id = overrides["instance-id"];
  const name = overrides["local-hostname"] ?? input.hostname;
  return {
    // Not the machine's own UUID: a guest that finds that one believes what it read before and does not look again.
    uuid: id ?? uuidOf(input.instanceId),
    hostname: name,
    name,
    public_keys: Object.fromEntries(keys.map((key, index) => [`key-${index}`, key])),
    ...overrides,
  };
}

function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`];
  return [...parts, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
}

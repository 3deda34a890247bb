import { metaDataBytes } from "./meta-data.ts";
import { networkConfigV1Bytes } from "./network-config-v1.ts";
import { networkConfigBytes } from "./network-config.ts";
import type { SeedFile, SeedInput } from "./seed-types.ts";
import { userDataBytes } from "./user-data.ts";
import { userNetwork } from "./user-network.ts";

/**
 * The files of a NoCloud seed, for a disk labelled `cidata`. Pure; the same input gives the same bytes.
 * Kind `invalid`, naming the key, for input that no guest could use.
 */
export function nocloudSeed(input: SeedInput): readonly SeedFile[] {
  const files: SeedFile[] = [
    { name: "meta-data", bytes: metaDataBytes(input) },
    { name: "user-data", bytes: userDataBytes(input.userData) },
  ];
  if (input.vendorData !== undefined) {
    files.push({ name: "vendor-data", bytes: Buffer.from(input.vendorData, "utf8") });
  }
  const network = networkBytes(input);
  if (network !== undefined) files.push({ name: "network-config", bytes: network });
  return files;
}

function networkBytes({ networkData, network, networkVersion = 2 }: SeedInput): Buffer | undefined {
  if (networkData !== undefined) return userNetwork(networkData, "nocloud");
  if (network === undefined) return undefined;
  return networkVersion === 1 ? networkConfigV1Bytes(network) : networkConfigBytes(network);
}

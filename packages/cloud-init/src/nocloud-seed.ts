import { metaDataBytes } from "./meta-data.ts";
import { networkConfigBytes } from "./network-config.ts";
import type { SeedFile, SeedInput } from "./seed-types.ts";
import { userDataBytes } from "./user-data.ts";

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
  if (input.network !== undefined) {
    files.push({ name: "network-config", bytes: networkConfigBytes(input.network) });
  }
  return files;
}

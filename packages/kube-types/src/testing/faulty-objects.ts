import { DATA_VOLUME_FAULTS, volume } from "./faults/data-volume.ts";
import { DEVICES_FAULTS } from "./faults/devices.ts";
import { DISKS_FAULTS } from "./faults/disks.ts";
import { FIRMWARE_FAULTS } from "./faults/firmware.ts";
import {
  INSTANCETYPE_FAULTS,
  PREFERENCE_FAULTS,
  instancetype,
  preference,
} from "./faults/given.ts";
import { INSTANCE_FAULTS } from "./faults/instance.ts";
import { MACHINE_FAULTS, machine } from "./faults/machine.ts";
import { NETWORKS_FAULTS } from "./faults/networks.ts";
import { REPLICAS_FAULTS, replicas } from "./faults/replicas.ts";
import { RESOURCES_FAULTS } from "./faults/resources.ts";
import { VOLUMES_FAULTS } from "./faults/volumes.ts";
import { type FaultRow, GOOD_INSTANCE, refusals, withFields } from "./objects.ts";

/** An object that no user may write, and what is told of it: `spec.volumes[0] FieldValueRequired`. */
export interface FaultyObject {
  readonly what: string;
  readonly object: { readonly apiVersion: string; readonly kind: string };
  readonly faults: readonly string[];
}

type Good = FaultyObject["object"];

const TABLES: readonly (readonly [Good, readonly FaultRow[]])[] = [
  [GOOD_INSTANCE, DEVICES_FAULTS],
  [GOOD_INSTANCE, DISKS_FAULTS],
  [GOOD_INSTANCE, FIRMWARE_FAULTS],
  [GOOD_INSTANCE, INSTANCE_FAULTS],
  [GOOD_INSTANCE, NETWORKS_FAULTS],
  [GOOD_INSTANCE, RESOURCES_FAULTS],
  [GOOD_INSTANCE, VOLUMES_FAULTS],
  [machine, MACHINE_FAULTS],
  [replicas, REPLICAS_FAULTS],
  [volume, DATA_VOLUME_FAULTS],
  [instancetype, INSTANCETYPE_FAULTS],
  [preference, PREFERENCE_FAULTS],
];

/** Every row of every table of faults. */
export const FAULTY_OBJECTS: readonly FaultyObject[] = TABLES.flatMap(([good, rows]) =>
  refusals(rows).map(({ what, fields, faults }) => {
    const paths = Object.entries(fields).map(([path, value]) => [`spec.${path}`, value] as const);
    return {
      what: `${good.kind}: ${what}`,
      object: withFields(good, Object.fromEntries(paths)) as Good,
      // Rows about the whole spec begin with a space.
      faults: faults.map((fault) => (fault.startsWith(" ") ? `spec${fault}` : `spec.${fault}`)),
    };
  }),
);

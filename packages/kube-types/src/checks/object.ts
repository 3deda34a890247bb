import type { DataVolume } from "../cdi/data-volume.ts";
import * as kubevirt from "../kinds-kubevirt.ts";
import { DATA_VOLUME } from "../kinds-cdi.ts";
import {
  VIRTUAL_MACHINE_CLUSTER_INSTANCETYPE,
  VIRTUAL_MACHINE_CLUSTER_PREFERENCE,
  VIRTUAL_MACHINE_INSTANCETYPE,
  VIRTUAL_MACHINE_PREFERENCE,
} from "../kinds-machines.ts";
import { kindOfObject } from "../kinds.ts";
import type { VirtualMachineInstance } from "../kubevirt/instance.ts";
import type { VirtualMachine } from "../kubevirt/machine.ts";
import type { VirtualMachineInstanceMigration } from "../kubevirt/migration.ts";
import type { VirtualMachineInstanceReplicaSet } from "../kubevirt/replica-set.ts";
import { checkKnown } from "../schema/check-known.ts";
import { isRecord } from "../schema/check-leaf.ts";
import { checkShape } from "../schema/check.ts";
import type { Kind } from "../schema/kind.ts";
import { withoutNulls } from "../schema/without-nulls.ts";
import { checkDataVolumeSpec } from "./data-volume.ts";
import { filled } from "./fields.ts";
import { checkInstancetype, checkPreference } from "./given.ts";
import { checkInstanceSpec } from "./instance.ts";
import { checkMachineSpec } from "./machine.ts";
import { checkReplicaSet } from "./replicas.ts";
import { Report } from "./report.ts";

/** Rules beyond shape, by kind. */
const RULES = new Map<Kind, (object: never, report: Report) => void>([
  [
    kubevirt.VIRTUAL_MACHINE,
    ({ spec }: VirtualMachine, report) => {
      checkMachineSpec(spec, "spec", report);
    },
  ],
  [
    kubevirt.VIRTUAL_MACHINE_INSTANCE,
    ({ spec }: VirtualMachineInstance, report) => {
      checkInstanceSpec(spec, "spec", { instancetype: false }, report);
    },
  ],
  [
    kubevirt.VIRTUAL_MACHINE_INSTANCE_REPLICA_SET,
    (of: VirtualMachineInstanceReplicaSet, report) => {
      checkReplicaSet(of, report);
    },
  ],
  [
    kubevirt.VIRTUAL_MACHINE_INSTANCE_MIGRATION,
    ({ spec }: VirtualMachineInstanceMigration, report) => {
      filled(spec.vmiName, "spec.vmiName", report);
    },
  ],
  [
    DATA_VOLUME,
    ({ spec }: DataVolume, report) => {
      checkDataVolumeSpec(spec, "spec", report);
    },
  ],
  [VIRTUAL_MACHINE_INSTANCETYPE, checkInstancetype],
  [VIRTUAL_MACHINE_CLUSTER_INSTANCETYPE, checkInstancetype],
  [VIRTUAL_MACHINE_PREFERENCE, checkPreference],
  [VIRTUAL_MACHINE_CLUSTER_PREFERENCE, checkPreference],
]);

/**
 * All that is wrong with an object that a user writes: first its shape; when that is right, values without
 * a meaning and what contradicts. What is `null` and may not be is as good as nothing.
 */
export function checkObject(object: unknown): Report {
  const report = new Report();
  if (!isRecord(object)) {
    report.add("FieldValueTypeInvalid", "<root>", "must be an object");
    return report;
  }
  const { apiVersion, kind: name } = object;
  const kind =
    typeof apiVersion === "string" && typeof name === "string"
      ? kindOfObject(apiVersion, name)
      : undefined;
  if (kind === undefined) {
    report.invalid("kind", "and apiVersion are none that are known");
    return report;
  }
  checkShape(kind.schema.node, object, "", report);
  if (report.count > 0) return report;
  const { node } = kind.schema;
  const spec = node.kind === "object" ? node.fields["spec"] : undefined;
  if (spec !== undefined) checkKnown(spec, object["spec"], "spec", report);
  RULES.get(kind)?.(withoutNulls(node, object) as never, report);
  return report;
}

import { expect, test } from "vitest";
import { type ByPath, GOOD_INSTANCE, withFields } from "../testing.ts";
import { RESERVED_LABELS, type Written, checkChange } from "./change.ts";

const MACHINE: Written = {
  metadata: { labels: { app: "a" } },
  spec: {
    runStrategy: "Halted",
    template: { spec: { domain: { devices: {} }, volumes: [{ name: "root" }] } },
  },
};
const OTHERS: Readonly<Record<string, Written>> = {
  VirtualMachine: MACHINE,
  VirtualMachineInstance: {
    ...withFields(GOOD_INSTANCE, { "spec.domain.cpu": { sockets: 1, maxSockets: 4 } }),
    status: { phase: "Running" },
  },
  VirtualMachineInstanceMigration: {
    metadata: { labels: { "kubevirt.io/vmi-name": "web" } },
    spec: { vmiName: "web" },
    status: { phase: "Running" },
  },
  VirtualMachineInstanceReplicaSet: {
    spec: { replicas: 1, selector: { matchLabels: { a: "b" } } },
  },
  VirtualMachinePool: { spec: { replicas: 1, selector: { matchLabels: { a: "b" } } } },
  VirtualMachineSnapshot: { spec: { source: { name: "web" } } },
  VirtualMachineRestore: { spec: { target: { name: "web" } } },
  VirtualMachineExport: { spec: { source: { name: "web" } } },
  DataVolume: { spec: { source: { blank: {} } } },
  VirtualMachineInstancetype: { spec: { cpu: { guest: 1 } } },
};

const SYSTEM = true;
const USER = false;

const RESTRICTED = "spec update of VMI object is restricted";
const LABELS =
  "metadata.labels modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
const IMMUTABLE = "spec spec in immutable after creation";
const until = (what: string, by = "snapshot"): string =>
  `spec Cannot update ${what} until ${by} "s" completes`;

/** Kind, what both objects have beside the plain one, what is changed, by whom, and what is said of it. */
test.each<
  [kind: string, what: string, both: ByPath, change: ByPath, isSystem: boolean, told: string[]]
>([
  ["VirtualMachineInstance", "a label", {}, { "metadata.labels.a": "b" }, USER, []],
  ["VirtualMachineInstance", "an annotation", {}, { "metadata.annotations.a": "b" }, USER, []],
  ["VirtualMachineInstance", "its host name", {}, { "spec.hostname": "x" }, USER, [RESTRICTED]],
  ["VirtualMachineInstance", "its host name", {}, { "spec.hostname": "x" }, SYSTEM, []],
  [
    "VirtualMachineInstance",
    "memory",
    {},
    { "spec.domain.memory.guest": "2Gi" },
    USER,
    [RESTRICTED],
  ],
  [
    "VirtualMachineInstance",
    "a volume",
    {},
    { "spec.volumes[1]": { name: "b" } },
    USER,
    [RESTRICTED],
  ],
  ["VirtualMachineInstance", "a volume", {}, { "spec.volumes[1]": { name: "b" } }, SYSTEM, []],
  ["VirtualMachineInstance", "processors", {}, { "spec.domain.cpu.sockets": 2 }, SYSTEM, []],
  [
    "VirtualMachineInstance",
    "the most processors",
    {},
    { "spec.domain.cpu.maxSockets": 8 },
    SYSTEM,
    ["spec.domain.cpu.maxSockets CPU topology maxSockets changed"],
  ],
  [
    "VirtualMachineInstance",
    "the most memory",
    { "spec.domain.memory.maxGuest": "4Gi" },
    { "spec.domain.memory.maxGuest": "8Gi" },
    SYSTEM,
    ["spec.domain.memory.maxGuest Memory maxGuest changed"],
  ],
  ...RESERVED_LABELS.flatMap((label): [string, string, ByPath, ByPath, boolean, string[]][] => {
    const none = { "metadata.labels": {} };
    const labels = { "metadata.labels": { [label]: "x" } };
    return [
      ["VirtualMachineInstance", `${label} that is new`, none, labels, USER, [LABELS]],
      ["VirtualMachineInstance", `${label} that is gone`, labels, none, USER, [LABELS]],
      ["VirtualMachineInstance", `${label} that is new`, none, labels, SYSTEM, []],
    ];
  }),
  [
    "VirtualMachineInstance",
    "a reserved label of one that goes",
    { "metadata.deletionTimestamp": "2026-01-01T00:00:00Z" },
    { "metadata.labels": { "kubevirt.io/nodeName": "x" } },
    USER,
    [LABELS],
  ],
  ["VirtualMachine", "its strategy", {}, { "spec.runStrategy": "Always" }, USER, []],
  ["VirtualMachine", "a volume", {}, { "spec.template.spec.volumes": [] }, USER, []],
  [
    "VirtualMachine",
    "its strategy during a snapshot",
    { "status.snapshotInProgress": "s" },
    { "spec.runStrategy": "Always" },
    USER,
    [until("vm running state")],
  ],
  [
    "VirtualMachine",
    "the old switch during a snapshot",
    { "status.snapshotInProgress": "s", "spec.runStrategy": undefined, "spec.running": false },
    { "spec.running": true },
    SYSTEM,
    [until("vm running state")],
  ],
  [
    "VirtualMachine",
    "the old switch for the strategy that is the same, during a snapshot",
    { "status.snapshotInProgress": "s" },
    { "spec.runStrategy": undefined, "spec.running": false },
    USER,
    [],
  ],
  [
    "VirtualMachine",
    "a volume during a snapshot",
    { "status.snapshotInProgress": "s" },
    { "spec.template.spec.volumes[1]": { name: "b" } },
    USER,
    [until("vm disks or volumes")],
  ],
  [
    "VirtualMachine",
    "a label during a snapshot",
    { "status.snapshotInProgress": "s" },
    { "metadata.labels.a": "b" },
    USER,
    [],
  ],
  [
    "VirtualMachine",
    "memory during a snapshot",
    { "status.snapshotInProgress": "s" },
    { "spec.template.spec.domain.memory": { guest: "2Gi" } },
    USER,
    [],
  ],
  [
    "VirtualMachine",
    "its strategy during a restore",
    { "status.restoreInProgress": "s" },
    { "spec.runStrategy": "Always" },
    USER,
    [until("VM runStrategy", "restore")],
  ],
  [
    "VirtualMachine",
    "a volume during a restore",
    { "status.restoreInProgress": "s" },
    { "spec.template.spec.volumes": [] },
    USER,
    [],
  ],
  [
    "VirtualMachine",
    "its strategy while it goes",
    { "status.snapshotInProgress": "s", "metadata.deletionTimestamp": "2026-01-01T00:00:00Z" },
    { "spec.runStrategy": "Always" },
    USER,
    [],
  ],
  [
    "VirtualMachineInstanceMigration",
    "whom it moves",
    {},
    { "spec.vmiName": "db" },
    SYSTEM,
    [" update of Migration object's spec is restricted"],
  ],
  [
    "VirtualMachineInstanceMigration",
    "its label",
    {},
    { "metadata.labels": { "kubevirt.io/vmi-name": "db" } },
    USER,
    [" selector label can't be modified on an in-flight migration"],
  ],
  [
    "VirtualMachineInstanceMigration",
    "its label that is gone",
    {},
    { "metadata.labels": {} },
    USER,
    [" selector label can't be removed from an in-flight migration"],
  ],
  [
    "VirtualMachineInstanceMigration",
    "its label when it is done",
    { "status.phase": "Succeeded" },
    { "metadata.labels": {} },
    USER,
    [],
  ],
  ["VirtualMachineInstanceReplicaSet", "how many", {}, { "spec.replicas": 3 }, USER, []],
  ["VirtualMachinePool", "how many", {}, { "spec.replicas": 3 }, USER, []],
  [
    "VirtualMachinePool",
    "its selector",
    {},
    { "spec.selector": { matchLabels: { a: "c" } } },
    USER,
    ["spec.selector selector is immutable after creation."],
  ],
  ["VirtualMachineSnapshot", "its source", {}, { "spec.source.name": "db" }, USER, [IMMUTABLE]],
  ["VirtualMachineSnapshot", "its source", {}, { "spec.source.name": "db" }, SYSTEM, [IMMUTABLE]],
  ["VirtualMachineSnapshot", "a label", {}, { "metadata.labels": { a: "b" } }, USER, []],
  ["VirtualMachineRestore", "its target", {}, { "spec.target.name": "db" }, USER, [IMMUTABLE]],
  ["VirtualMachineExport", "its source", {}, { "spec.source.name": "db" }, USER, [IMMUTABLE]],
  [
    "VirtualMachineExport",
    "its source while it goes",
    { "metadata.deletionTimestamp": "2026-01-01T00:00:00Z" },
    { "spec.source.name": "db" },
    USER,
    [],
  ],
  [
    "DataVolume",
    "its source",
    {},
    { "spec.source": { upload: {} } },
    USER,
    ["DataVolume.Spec Cannot update DataVolume Spec"],
  ],
  ["DataVolume", "an annotation", {}, { "metadata.annotations": { a: "b" } }, USER, []],
  ["VirtualMachineInstancetype", "its processors", {}, { "spec.cpu.guest": 2 }, USER, []],
])("of a %s, %s", (kind, _, both, change, isSystem, told) => {
  const before = withFields(OTHERS[kind] ?? {}, both) as Written;
  const after = withFields(before, change) as Written;
  const faults = checkChange({ kind, before, after, isSystem });
  expect(faults.map(({ field = "", message }) => `${field} ${message}`)).toEqual(told);
  expect(checkChange({ kind, before, after: before, isSystem })).toEqual([]);
});

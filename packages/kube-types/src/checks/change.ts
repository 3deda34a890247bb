import { isDeepStrictEqual } from "node:util";
import type { VirtualMachineSpec } from "../kubevirt/machine-spec.ts";
import type { VirtualMachineStatus } from "../kubevirt/machine-status.ts";
import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import type { Reason } from "./report.ts";

/** An object that is written over another of the same kind and name. */
export interface Change {
  readonly kind: string;
  readonly before: Written;
  readonly after: Written;
  /** The control plane itself writes: what it is asked by a subresource, it may. */
  readonly isSystem: boolean;
}

export interface Written {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** Why a change is refused; the words are KubeVirt's, and whole. */
export interface ChangeFault {
  readonly reason: Reason;
  readonly message: string;
  readonly field?: string;
}

/** Labels of an instance that say what the control plane knows, and that others rely on. */
export const RESERVED_LABELS = [
  "kubevirt.io/created-by",
  "kubevirt.io/migrationJobUID",
  "kubevirt.io/nodeName",
  "kubevirt.io/migrationTargetNodeName",
  "kubevirt.io/schedulable",
  "kubevirt.io/install-strategy",
] as const;

/** Which machine a migration is of, for those that look for it. */
const MIGRATES = "kubevirt.io/vmi-name";

const NOT_CHANGED = {
  reason: "FieldValueInvalid",
  message: "spec in immutable after creation",
  field: "spec",
} as const;

/** What may not change of a kind, once it is there. */
const RULES: Readonly<Record<string, (change: Change) => readonly ChangeFault[]>> = {
  VirtualMachine: machineFaults,
  VirtualMachineInstance: instanceFaults,
  VirtualMachineInstanceMigration: migrationFaults,
  VirtualMachineSnapshot: always(NOT_CHANGED),
  VirtualMachineRestore: always(NOT_CHANGED),
  VirtualMachineExport: always(NOT_CHANGED),
  DataVolume: always({
    reason: "FieldValueDuplicate",
    message: "Cannot update DataVolume Spec",
    field: "DataVolume.Spec",
  }),
  VirtualMachinePool: ({ before, after }) =>
    isSame(partOf(before.spec, "selector"), partOf(after.spec, "selector"))
      ? []
      : [invalid("selector is immutable after creation.", "spec.selector")],
};

/** Whether an object may become another: by what both say, and who asks. What goes away may always be changed. */
export function checkChange(change: Change): readonly ChangeFault[] {
  const { kind, after } = change;
  // Labels of an instance are looked at to its end: who is told by them is still there.
  if (after.metadata?.deletionTimestamp !== undefined && kind !== "VirtualMachineInstance")
    return [];
  return Object.hasOwn(RULES, kind) ? (RULES[kind]?.(change) ?? []) : [];
}

function always(fault: ChangeFault): (change: Change) => readonly ChangeFault[] {
  return ({ before, after }) => (isSame(before.spec, after.spec) ? [] : [fault]);
}

/** What an instance is does not change under it; in place nothing grows beyond what it was started with. */
function instanceFaults({ before, after, isSystem }: Change): readonly ChangeFault[] {
  if (isSystem) return roomFaults(before, after);
  const faults: ChangeFault[] = [];
  if (!isSame(before.spec, after.spec)) {
    faults.push(unsupported("update of VMI object is restricted", "spec"));
  }
  const reserved = ({ metadata }: Written): unknown[] =>
    RESERVED_LABELS.map((label) => metadata?.labels?.[label]);
  if (!isSame(reserved(before), reserved(after))) {
    const message =
      "modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
    faults.push(unsupported(message, "metadata.labels"));
  }
  return faults;
}

function roomFaults(before: Written, after: Written): readonly ChangeFault[] {
  const [old, now] = [before, after].map(({ spec }) => (spec as VirtualMachineInstanceSpec).domain);
  const faults: ChangeFault[] = [];
  if (old?.cpu?.maxSockets !== now?.cpu?.maxSockets) {
    faults.push(invalid("CPU topology maxSockets changed", "spec.domain.cpu.maxSockets"));
  }
  const [oldMost, most] = [old?.memory?.maxGuest, now?.memory?.maxGuest];
  if (oldMost !== undefined && most !== undefined && String(oldMost) !== String(most)) {
    faults.push(invalid("Memory maxGuest changed", "spec.domain.memory.maxGuest"));
  }
  return faults;
}

/** What has to stand still while a machine is kept or brought back. */
function machineFaults({ before, after }: Change): readonly ChangeFault[] {
  const [old, now] = [before.spec, after.spec] as [VirtualMachineSpec, VirtualMachineSpec];
  const { snapshotInProgress, restoreInProgress } = (after.status ?? {}) as VirtualMachineStatus;
  const isRunSame = isSame(runOf(old), runOf(now));
  if (restoreInProgress !== undefined && !isRunSame) {
    const message = `Cannot update VM runStrategy until restore "${restoreInProgress}" completes`;
    return [unsupported(message, "spec")];
  }
  if (snapshotInProgress === undefined) return [];
  const until = `until snapshot "${snapshotInProgress}" completes`;
  const volumesOf = ({ template }: VirtualMachineSpec): unknown => template.spec?.volumes ?? [];
  if (!isSame(volumesOf(old), volumesOf(now))) {
    return [unsupported(`Cannot update vm disks or volumes ${until}`, "spec")];
  }
  return isRunSame ? [] : [unsupported(`Cannot update vm running state ${until}`, "spec")];
}

/** `running` says the same as the strategy that replaced it. */
function runOf({ running, runStrategy }: VirtualMachineSpec): string | undefined {
  if (running !== undefined) return running ? "Always" : "Halted";
  return runStrategy;
}

const MIGRATION_ENDS = new Set<unknown>(["Succeeded", "Failed"]);

function migrationFaults({ before, after }: Change): readonly ChangeFault[] {
  if (!isSame(before.spec, after.spec)) {
    return [
      {
        reason: "FieldValueNotSupported",
        message: "update of Migration object's spec is restricted",
      },
    ];
  }
  const old = before.metadata?.labels?.[MIGRATES];
  const now = after.metadata?.labels?.[MIGRATES];
  if (old === undefined || old === now || MIGRATION_ENDS.has(partOf(after.status, "phase")))
    return [];
  const how = now === undefined ? "removed from" : "modified on";
  return [
    {
      reason: "FieldValueNotSupported",
      message: `selector label can't be ${how} an in-flight migration`,
    },
  ];
}

function isSame(before: unknown, after: unknown): boolean {
  return isDeepStrictEqual(before, after);
}

function partOf(of: unknown, name: string): unknown {
  return (of as Readonly<Record<string, unknown>> | null | undefined)?.[name];
}

function invalid(message: string, field: string): ChangeFault {
  return { reason: "FieldValueInvalid", message, field };
}

function unsupported(message: string, field: string): ChangeFault {
  return { reason: "FieldValueNotSupported", message, field };
}

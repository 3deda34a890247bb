import type { JsonPatchOperation, PersistentVolumeClaim, Stored } from "@trine/kube-client";
import type {
  ClusterDefaults,
  DataVolume,
  VirtualMachine,
  VirtualMachineInstance,
  VirtualMachineSpec,
} from "@trine/kube-types";
import type { Choice } from "@trine/instancetypes";

export type Machine = Stored<VirtualMachine>;
export type Instance = Stored<VirtualMachineInstance>;

/** What a machine was when it was started. */
export interface Started {
  readonly generation: number;
  readonly spec: VirtualMachineSpec;
  /** What it was given by name then. */
  readonly choice: Choice;
}

/** What becomes of the difference between a machine and its instance. */
export type LiveChange =
  | { readonly kind: "none" }
  /** What the machine would be cannot be told now. */
  | { readonly kind: "unknown" }
  /** The instance is to say the same, and its guest follows; each operation with a `test` of the old value. */
  | { readonly kind: "live"; readonly operations: readonly JsonPatchOperation[] }
  /** `why`: for the machine's user. */
  | { readonly kind: "restart"; readonly why: string };

/** What there is of a machine, and what it is given. */
export interface Facts {
  readonly vm: Machine;
  /** The machine's own; undefined where there is none, or one of another owner. */
  readonly vmi: Instance | undefined;
  /** An instance of the machine's name that nobody has: left by a machine before it. */
  readonly orphan: Instance | undefined;
  /** An instance of the machine's name that another owner has. */
  readonly isTaken: boolean;
  /** What it is given by name now. Undefined: that cannot be told, such as where its instance type is missing. */
  readonly choice: Choice | undefined;
  readonly started: Started | undefined;
  /** Of the machine's namespace, by name. */
  readonly dataVolume: (name: string) => DataVolume | undefined;
  readonly claim: (name: string) => PersistentVolumeClaim | undefined;
  readonly defaults: ClusterDefaults;
  readonly now: Date;
}

/** All that a decision on a machine looks at. */
export interface Seen extends Facts {
  /** Of these facts. */
  readonly change: LiveChange;
}

const ORPHAN = "orphan";

/** Whether the machine goes and its instance stays. */
export function leavesInstance({ metadata }: Machine): boolean {
  return metadata.finalizers?.includes(ORPHAN) ?? false;
}

export function isLeaving({ metadata }: Machine | Instance): boolean {
  return metadata.deletionTimestamp !== undefined;
}

/** Whether it ran, or could not, and does nothing more. */
export function isFinal({ status }: VirtualMachineInstance): boolean {
  return status?.phase === "Succeeded" || status?.phase === "Failed";
}

interface Conditioned {
  readonly status?:
    | {
        readonly conditions?: readonly {
          readonly type: string;
          readonly status: string;
          readonly reason?: string;
        }[];
      }
    | undefined;
}

/** Whether a condition has this status, and this reason where one is named. */
export function hasCondition(
  { status }: Conditioned,
  type: string,
  wanted: "True" | "False",
  reason?: string,
): boolean {
  const found = status?.conditions?.find((each) => each.type === type);
  return found?.status === wanted && (reason === undefined || found.reason === reason);
}

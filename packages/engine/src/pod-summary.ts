import { bootOf } from "@trine/vmm";
import type { GuestStart } from "./guest/guest-start.ts";
import type { Level } from "./levels.ts";
import type { PodContext } from "./pod-context.ts";
import { interfacesOf } from "./pod-document.ts";
import type { GuestRecord, MachineRecord } from "./pod-document.ts";
import type { PodFiles } from "./pod-files.ts";
import type { PodIdentity } from "./pod-identity.ts";

/** A pod's machine: its own, or the one its guest runs in. */
export interface MachineSummary {
  /** The container that is the machine; a microvm's guest is no container. */
  readonly containerName?: string;
  readonly containerId?: string;
  readonly state: string;
  readonly pid?: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** What the VMM began with, of a guest that was given the rest since. */
  readonly firstMemoryBytes?: number;
  readonly accelerator: string;
  readonly firmware: string;
  readonly uuid: string;
  readonly disks: readonly { readonly name: string; readonly path: string }[];
  readonly consoleLog: string;
  readonly consoleSocket: string;
  readonly vncSocket?: string;
  /** Of a microvm's guest: whether it booted, and why, or went on from a template. */
  readonly start?: GuestStart;
}

/** A pod as the node API, `trine ps` and `trine inspect` show it. JSON. */
export interface PodSummary extends PodIdentity {
  readonly level: Level["name"];
  readonly addresses: readonly string[];
  readonly shim: { readonly pid: number; readonly version: string };
  readonly machine?: MachineSummary;
  /** Of a microvm pod, as its guest has them. */
  readonly containers?: readonly {
    readonly id: string;
    readonly name: string;
    readonly state: string;
  }[];
}

export function makeSummary(pod: PodContext, level: Pick<Level, "name">): PodSummary {
  const { identity, facts, document, files } = pod;
  const { machine, guest } = document;
  const vmm = machine ?? guest;
  const names =
    machine === undefined
      ? {}
      : { containerName: machine.containerName, containerId: machine.taskId };
  return {
    ...identity,
    level: level.name,
    addresses: interfacesOf(document).flatMap((each) => each.addresses.map((a) => a.address)),
    shim: { pid: facts.pid, version: facts.version },
    ...(vmm === undefined
      ? {}
      : {
          machine: { ...names, ...machineSummary(vmm, files), ...sizeOf(guest), ...startOf(guest) },
        }),
    ...(guest === undefined ? {} : { containers: containersOf(guest) }),
  };
}

/** A guest's size where it is not its machine's. */
function sizeOf(guest: GuestRecord | undefined): Partial<MachineSummary> {
  return guest?.size === undefined
    ? {}
    : { ...guest.size, firstMemoryBytes: guest.spec.memoryBytes };
}

function startOf(guest: GuestRecord | undefined): { start?: GuestStart } {
  return guest?.start === undefined ? {} : { start: guest.start };
}

function containersOf(guest: GuestRecord): NonNullable<PodSummary["containers"]> {
  return Object.entries(guest.containers).flatMap(([id, record]) =>
    record === undefined ? [] : [{ id, name: record.name, state: record.state }],
  );
}

function machineSummary(record: MachineRecord | GuestRecord, files: PodFiles): MachineSummary {
  const { spec } = record;
  const boot = bootOf(spec);
  const pid = record.state === "ended" ? undefined : record.vmmPid;
  return {
    state: record.state,
    ...(pid === undefined ? {} : { pid }),
    cpus: spec.cpus,
    memoryBytes: spec.memoryBytes,
    accelerator: spec.accelerator,
    firmware: boot.kind === "firmware" ? boot.firmware : "none",
    uuid: spec.uuid,
    disks: spec.disks.map(({ name, path }) => ({ name, path })),
    consoleLog: files.consoleSpool,
    consoleSocket: files.consoleAttach,
    ...(spec.display ? { vncSocket: `${files.machineDir}/vnc.sock` } : {}),
  };
}

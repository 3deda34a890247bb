import type { DescribeResponse } from "@trine/proto/shim";
import type { PodDocument } from "./pod-document.ts";
import type { PodFiles } from "./pod-files.ts";
import type { PodIdentity } from "./pod-identity.ts";

/** A pod as the node API, `trine ps` and `trine inspect` show it. JSON. */
export interface PodSummary extends PodIdentity {
  readonly level: "vm";
  readonly addresses: readonly string[];
  readonly shim: { readonly pid: number; readonly version: string };
  readonly machine?: {
    readonly containerName: string;
    readonly containerId: string;
    readonly state: string;
    readonly pid?: number;
    readonly cpus: number;
    readonly memoryBytes: number;
    readonly accelerator: string;
    readonly firmware: string;
    readonly uuid: string;
    readonly disks: readonly { readonly name: string; readonly path: string }[];
    readonly consoleLog: string;
    readonly consoleSocket: string;
    readonly vncSocket?: string;
  };
}

export function makeSummary(
  identity: PodIdentity,
  facts: DescribeResponse,
  document: PodDocument,
  files: PodFiles,
): PodSummary {
  return {
    ...identity,
    level: "vm",
    addresses: document.network?.addresses.map((a) => a.address) ?? [],
    shim: { pid: facts.pid, version: facts.version },
    ...(document.machine === undefined ? {} : { machine: machineSummary(document.machine, files) }),
  };
}

function machineSummary(
  record: NonNullable<PodDocument["machine"]>,
  files: PodFiles,
): NonNullable<PodSummary["machine"]> {
  const { spec } = record;
  const pid = record.state === "ended" ? undefined : record.vmmPid;
  return {
    containerName: record.containerName,
    containerId: record.taskId,
    state: record.state,
    ...(pid === undefined ? {} : { pid }),
    cpus: spec.cpus,
    memoryBytes: spec.memoryBytes,
    accelerator: spec.accelerator,
    firmware: spec.firmware ?? "bios",
    uuid: spec.uuid,
    disks: spec.disks.map(({ name, path }) => ({ name, path })),
    consoleLog: files.consoleSpool,
    consoleSocket: files.consoleAttach,
    ...(spec.display ? { vncSocket: `${files.machineDir}/vnc.sock` } : {}),
  };
}

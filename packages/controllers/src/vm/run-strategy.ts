import { TrineError } from "@trine/base";
import type { VirtualMachineSpec } from "@trine/kube-types";
import type { Instance, Machine, Seen } from "./seen.ts";

const STRATEGIES = [
  "Always",
  "Halted",
  "Manual",
  "RerunOnFailure",
  "Once",
  "WaitAsReceiver",
] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** When a machine runs: by `runStrategy`, or by `running` of old. Rejects with `invalid` what says both or neither. */
export function strategyOf({ running, runStrategy }: VirtualMachineSpec): Strategy {
  if (running !== undefined && runStrategy !== undefined) {
    throw new TrineError("invalid", "spec.running and spec.runStrategy must not be said together");
  }
  if (running !== undefined) return running ? "Always" : "Halted";
  const known = STRATEGIES.find((strategy) => strategy === runStrategy);
  if (known !== undefined) return known;
  throw new TrineError("invalid", `spec.runStrategy is ${String(runStrategy)}, which is unknown`);
}

/** The first request to start or stop: the only one that counts. */
function firstRequest({ status }: Machine) {
  return status?.stateChangeRequests?.[0];
}

export function wantsStart(vm: Machine): boolean {
  return firstRequest(vm)?.action === "Start";
}

/** Whether the machine is to wait, paused, once it is there. */
export function wantsStartPaused(vm: Machine): boolean {
  return wantsStart(vm) && firstRequest(vm)?.data?.["paused"] === "true";
}

/** Whether just this instance is to stop. */
export function wantsStop(vm: Machine, { metadata }: Instance): boolean {
  const request = firstRequest(vm);
  return request?.action === "Stop" && request.uid === metadata.uid;
}

/** Whether the first request is done with, or can never be. */
export function isRequestDone(vm: Machine, vmi: Instance | undefined): boolean {
  const request = firstRequest(vm);
  if (request === undefined) return false;
  if (request.action === "Stop") return vmi === undefined || request.uid !== vmi.metadata.uid;
  const { deletionTimestamp } = vmi?.metadata ?? {};
  const phase = vmi?.status?.phase;
  const isAlive = deletionTimestamp === undefined && phase !== "Succeeded" && phase !== "Failed";
  return vmi !== undefined && isAlive;
}

/** Whether RerunOnFailure starts a machine that has no instance: on request, or when it has just become the strategy. */
export function reruns(vm: Machine): boolean {
  return wantsStart(vm) || vm.status?.runStrategy !== "RerunOnFailure";
}

/** Whether the machine is meant to run. */
export function isToRun({ vm, vmi }: Pick<Seen, "vm" | "vmi">, strategy: Strategy): boolean {
  switch (strategy) {
    case "Always":
      return true;
    case "Manual":
      return vmi === undefined ? wantsStart(vm) : !wantsStop(vm, vmi);
    case "RerunOnFailure":
      return vmi === undefined ? reruns(vm) : vmi.status?.phase !== "Succeeded";
    case "Once":
      return vmi === undefined;
    case "Halted":
    case "WaitAsReceiver":
      return false;
  }
}

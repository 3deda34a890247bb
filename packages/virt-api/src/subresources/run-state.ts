import { kindOf, messageOf } from "@trine/base";
import { type JsonPatchOperation, type WriteOptions, pointer } from "@trine/kube-client";
import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import type { VirtApiDeps } from "../deps.ts";
import type { Target } from "../http/target.ts";
import { type Subject, conflict, internalError } from "../refusals/refusal.ts";
import { INSTANCES, MACHINES, aboutInstance, aboutMachine } from "./objects.ts";

export type RunStrategy =
  | "Always"
  | "Halted"
  | "Manual"
  | "RerunOnFailure"
  | "Once"
  | "WaitAsReceiver"
  | (string & Record<never, never>);

/** The strategy, also where the older switch says it. */
export function runStrategyOf({ spec }: VirtualMachine): RunStrategy {
  const { running, runStrategy } = spec;
  if (running !== undefined && runStrategy !== undefined) {
    throw internalError("Running and RunStrategy are mutually exclusive");
  }
  return runStrategy ?? (running === true ? "Always" : "Halted");
}

/** Turns the switch, or the strategy that replaced it, if it is still what was read. */
export function runningPatch({ spec }: VirtualMachine, running: boolean): JsonPatchOperation[] {
  const { runStrategy } = spec;
  const [path, before, after] =
    runStrategy === undefined
      ? (["/spec/running", spec.running ?? null, running] as const)
      : (["/spec/runStrategy", runStrategy, running ? "Always" : "Halted"] as const);
  return [
    { op: "test", path, value: before },
    { op: before === null ? "add" : "replace", path, value: after },
  ];
}

export interface StateChange {
  readonly action: "Start" | "Stop";
  readonly uid?: string;
  readonly data?: Readonly<Record<string, string>>;
}

const REQUESTS = "/status/stateChangeRequests";

/** Asks the machine's controller; a Stop alone replaces what was asked before, anything else waits its turn (409). */
export function stateChangePatch(
  { status, metadata }: VirtualMachine,
  changes: readonly StateChange[],
): JsonPatchOperation[] {
  if (status === undefined || Object.keys(status).length === 0) {
    return [{ op: "add", path: "/status", value: { stateChangeRequests: changes } }];
  }
  const waiting = status.stateChangeRequests;
  const isStop = changes.length === 1 && changes[0]?.action === "Stop";
  if ((waiting ?? []).length > 0 && !isStop) {
    const why = "unable to complete request: stop/start already underway";
    throw conflict(aboutMachine(metadata?.name ?? ""), why);
  }
  const failed = status.startFailure !== undefined && status.startFailure !== null;
  return [
    { op: "test", path: REQUESTS, value: waiting ?? null },
    { op: waiting === undefined ? "add" : "replace", path: REQUESTS, value: changes },
    ...(failed ? [{ op: "remove", path: "/status/startFailure" } as const] : []),
  ];
}

/** How long the guest may take to end, of an instance that runs already. */
export function gracePatch(
  { spec }: VirtualMachineInstance,
  seconds: number,
): JsonPatchOperation[] {
  const path = pointer("spec", "terminationGracePeriodSeconds");
  const before = spec.terminationGracePeriodSeconds;
  return [
    { op: "test", path, value: before ?? null },
    { op: before === undefined ? "add" : "replace", path, value: seconds },
  ];
}

type Write = Pick<WriteOptions, "dryRun" | "signal">;
type Place = Pick<Target, "namespace" | "name">;

export async function patchMachine(
  { kube }: Pick<VirtApiDeps, "kube">,
  { namespace, name }: Place,
  operations: readonly JsonPatchOperation[],
  options: Write & { readonly subresource?: "status" },
): Promise<void> {
  await kube
    .patch(MACHINES, { namespace, name }, operations, options)
    .catch((cause: unknown) => refuse(aboutMachine(name), cause));
}

export async function patchInstance(
  { kube }: Pick<VirtApiDeps, "kube">,
  { namespace, name }: Place,
  operations: readonly JsonPatchOperation[],
  options: Write,
): Promise<void> {
  await kube
    .patch(INSTANCES, { namespace, name }, operations, options)
    .catch((cause: unknown) => refuse(aboutInstance(name), cause));
}

function refuse(subject: Subject, cause: unknown): never {
  if (kindOf(cause) === "conflict") throw conflict(subject, messageOf(cause), { cause });
  throw internalError(messageOf(cause), { cause });
}

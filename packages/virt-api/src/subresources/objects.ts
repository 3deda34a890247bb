import { kindOf, messageOf } from "@trine/base";
import { type Stored, resourceOf } from "@trine/kube-client";
import {
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  type VirtualMachine,
  type VirtualMachineInstance,
} from "@trine/kube-types";
import type { VirtApiDeps } from "../deps.ts";
import type { Target } from "../http/target.ts";
import { type Subject, conflict, internalError, notFound } from "../refusals/refusal.ts";

export const MACHINES = resourceOf(VIRTUAL_MACHINE);
export const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);

type Place = Pick<Target, "namespace" | "name">;
type Reader = Pick<VirtApiDeps, "kube">;

export function aboutMachine(name: string): Subject {
  return { kind: "virtualmachine", name };
}

export function aboutInstance(name: string): Subject {
  return { kind: "virtualmachineinstance", name };
}

export async function getMachine(
  { kube }: Reader,
  { namespace, name }: Place,
  signal: AbortSignal,
): Promise<Stored<VirtualMachine>> {
  return kube.get(MACHINES, { namespace, name }, signal).catch((cause: unknown) => {
    if (kindOf(cause) === "notFound") throw notFound(aboutMachine(name));
    throw internalError(`unable to retrieve vm [${name}]: ${messageOf(cause)}`, { cause });
  });
}

/** Undefined where there is none. */
export async function findInstance(
  { kube }: Reader,
  { namespace, name }: Place,
  signal: AbortSignal,
): Promise<Stored<VirtualMachineInstance> | undefined> {
  return kube.get(INSTANCES, { namespace, name }, signal).catch((cause: unknown) => {
    if (kindOf(cause) === "notFound") return undefined;
    throw internalError(`unable to retrieve vmi [${name}]: ${messageOf(cause)}`, { cause });
  });
}

export async function getInstance(
  deps: Reader,
  place: Place,
  signal: AbortSignal,
): Promise<Stored<VirtualMachineInstance>> {
  const instance = await findInstance(deps, place, signal);
  if (instance === undefined) throw notFound(aboutInstance(place.name));
  return instance;
}

/** The instance that a request means: its own, or the one that runs the machine it names. */
export async function instanceOf(
  deps: Reader,
  target: Target,
  signal: AbortSignal,
): Promise<Stored<VirtualMachineInstance>> {
  if (target.resource !== "virtualmachines") return getInstance(deps, target, signal);
  const { name } = target;
  const machine = await getMachine(deps, target, signal);
  if (machine.status?.created !== true) throw conflict(aboutMachine(name), "VMI is not started");
  const instance = await getInstance(deps, target, signal);
  const owners = instance.metadata.ownerReferences ?? [];
  if (owners.some(({ uid }) => uid === machine.metadata.uid)) return instance;
  throw internalError(`unable to retrieve vmi [${name}] for vm: it belongs to another one`);
}

export function isFinal({ status }: VirtualMachineInstance): boolean {
  return status?.phase === "Failed" || status?.phase === "Succeeded";
}

/** Whether it has the condition, in whatever status. */
export function hasCondition(
  { status }: VirtualMachineInstance | VirtualMachine,
  type: string,
  value?: "True",
): boolean {
  const conditions: readonly { type: string; status: string }[] = status?.conditions ?? [];
  return conditions.some(
    (each) => each.type === type && (value === undefined || each.status === value),
  );
}

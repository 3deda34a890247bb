import { TrineError, kindOf, messageOf } from "@trine/base";
import { CONTROLLER_REVISIONS, type JsonPatchOperation, keyOf, pointer } from "@trine/kube-client";
import { MACHINE_FINALIZER } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";
import { createVolume } from "./create-volume.ts";
import { BY_OWNER } from "../caches.ts";
import type { ControlDeps } from "../controller.ts";
import { type Start, instanceOf } from "./instance-of.ts";
import { GENERATION, type Step } from "./next-step.ts";
import { INSTANCES, MACHINES } from "../kinds.ts";
import { sighted } from "./live-change.ts";
import { controllerOf, ownedBy } from "../owner.ts";
import { type Instance, type Machine, type Seen } from "./seen.ts";
import { startRevision, startRevisions } from "./start-revision.ts";

/** What came of a step. */
export type Acted =
  /** The machine itself was written: it comes again when the cache has it. */
  | { readonly machine: Machine | undefined }
  /** As it is now, for the status. */
  | { readonly seen: Seen; readonly waitMs?: number };

type Place = { readonly namespace: string; readonly name: string };

function placeOf({ metadata }: Machine | Instance): Place {
  return { namespace: metadata.namespace ?? "default", name: metadata.name };
}

/** Does one step. Whatever it finds done already is done. */
export async function act(
  deps: ControlDeps,
  seen: Seen,
  step: Step,
  signal: AbortSignal,
): Promise<Acted> {
  const { vm } = seen;
  switch (step.do) {
    case "hold":
      return { machine: await setFinalizers(deps, vm, finalizersOf(vm).concat(MACHINE_FINALIZER)) };
    case "release": {
      const others = finalizersOf(vm).filter((each) => each !== MACHINE_FINALIZER);
      return { machine: await setFinalizers(deps, vm, others) };
    }
    case "adopt":
      await adopt(deps, vm, step.vmi, signal);
      return { seen };
    case "createVolume":
      await createVolume(deps, vm, step.template, signal);
      return { seen };
    case "start":
      return start(deps, seen, step.paused, signal);
    case "stop":
      return stop(deps, seen, step.vmi, signal);
    case "requestStart":
      return { machine: await requestStart(deps, vm, signal) };
    case "runAlways":
      return { machine: await runAlways(deps, vm, signal) };
    case "tellGeneration":
      await tellGeneration(deps, vm, step.vmi, signal);
      return { seen };
    case "updateLive":
      return { seen: sighted({ ...seen, vmi: await updateLive(deps, vm, step, signal) }) };
    case "refuse":
      throw new TrineError("wrongState", step.message);
    case "wait":
      return { seen, waitMs: step.ms };
    case "nothing":
      return { seen };
  }
}

function finalizersOf({ metadata }: Machine): readonly string[] {
  return metadata.finalizers ?? [];
}

/** A machine that is gone needs none. */
async function setFinalizers(
  { api }: ControlDeps,
  vm: Machine,
  finalizers: readonly string[],
): Promise<Machine | undefined> {
  const path = pointer("metadata", "finalizers");
  try {
    return await api.patch(MACHINES, placeOf(vm), [
      {
        op: "test",
        path: pointer("metadata", "resourceVersion"),
        value: vm.metadata.resourceVersion,
      },
      { op: "test", path: pointer("metadata", "uid"), value: vm.metadata.uid },
      { op: "add", path, value: finalizers },
    ]);
  } catch (cause) {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  }
}

async function adopt(
  { api }: ControlDeps,
  vm: Machine,
  vmi: Instance,
  signal: AbortSignal,
): Promise<void> {
  const { ownerReferences = [], finalizers = [], resourceVersion } = vmi.metadata;
  const held = [...new Set([...finalizers, MACHINE_FINALIZER])];
  const metadata = {
    ...vmi.metadata,
    ownerReferences: [...ownerReferences, ownedBy(vm)],
    finalizers: held,
    resourceVersion,
  };
  await api.update(INSTANCES, { ...vmi, metadata }, { signal });
}

/** The machine as the server has it decides, not the cache: whoever stopped it meanwhile is heard. */
async function start(
  deps: ControlDeps,
  seen: Seen,
  paused: boolean,
  signal: AbortSignal,
): Promise<Acted> {
  const { api } = deps;
  const { vm, choice, defaults, now } = seen;
  if (choice === undefined) {
    throw new TrineError("internal", `virtualmachine ${keyOf(vm)}: is not known whole`);
  }
  const current = await api.get(MACHINES, placeOf(vm), signal);
  if (current.metadata.resourceVersion !== vm.metadata.resourceVersion) {
    throw new TrineError("conflict", `virtualmachine ${keyOf(vm)}: has changed`);
  }
  const revision = await keepRevision(deps, vm, signal);
  const vmi = instanceOf(vm, { choice, paused, revision, defaults, now } satisfies Start);
  const created = await createInstance(deps, vm, vmi, signal);
  const [first] = startRevisions(vm, deps.caches.revisions.byIndex(BY_OWNER, vm.metadata.uid));
  const started =
    first === undefined || first.revision < (vm.metadata.generation ?? 0)
      ? { generation: vm.metadata.generation ?? 0, spec: vm.spec, choice }
      : seen.started;
  const facts = { ...seen, vmi: created, ...(started !== undefined && { started }) };
  return { seen: sighted(facts) };
}

async function createInstance(
  { api, events }: ControlDeps,
  vm: Machine,
  vmi: ReturnType<typeof instanceOf>,
  signal: AbortSignal,
): Promise<Instance> {
  const { name } = vm.metadata;
  try {
    const created = await api.create(INSTANCES, vmi, { signal });
    const message = `Started the virtual machine by creating the new virtual machine instance ${name}`;
    events.record(vm, { type: "Normal", reason: "SuccessfulCreate", message });
    return created;
  } catch (cause) {
    if (kindOf(cause) === "alreadyExists") {
      const found = await api.get(INSTANCES, placeOf(vm), signal);
      if (controllerOf(found)?.uid === vm.metadata.uid) return found;
    }
    const message = `Error creating virtual machine instance: ${messageOf(cause)}`;
    events.record(vm, { type: "Warning", reason: "FailedCreate", message });
    throw TrineError.during("failed to start the virtual machine instance", cause);
  }
}

/** Keeps what the machine is started as, and drops what it was at other starts. Answers the revision's name. */
async function keepRevision(
  { api, caches }: ControlDeps,
  vm: Machine,
  signal: AbortSignal,
): Promise<string> {
  const revision = startRevision(vm);
  const { name } = revision.metadata;
  const all = startRevisions(vm, caches.revisions.byIndex(BY_OWNER, vm.metadata.uid));
  for (const { metadata } of all) {
    if (metadata.name === name) continue;
    const at = { namespace: placeOf(vm).namespace, name: metadata.name };
    await unlessGone(api.delete(CONTROLLER_REVISIONS, at, { uid: metadata.uid, signal }));
  }
  if (all.some(({ metadata }) => metadata.name === name)) return name;
  try {
    await api.create(CONTROLLER_REVISIONS, revision, { signal });
  } catch (cause) {
    if (kindOf(cause) !== "alreadyExists") throw cause;
  }
  return name;
}

/** Gone, or another one by now: either way this one is not there. */
async function unlessGone(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (cause) {
    if (!["notFound", "conflict"].includes(kindOf(cause))) throw cause;
  }
}

async function stop(
  { api, events }: ControlDeps,
  seen: Seen,
  vmi: Instance,
  signal: AbortSignal,
): Promise<Acted> {
  const { vm, now } = seen;
  const { uid } = vmi.metadata;
  try {
    await unlessGone(api.delete(INSTANCES, placeOf(vmi), { uid, signal }));
  } catch (cause) {
    const message = `Error deleting virtual machine instance ${vmi.metadata.name}: ${messageOf(cause)}`;
    events.record(vm, { type: "Warning", reason: "FailedDelete", message });
    throw TrineError.during("failed to delete the virtual machine instance", cause);
  }
  const message = `Stopped the virtual machine by deleting the virtual machine instance ${uid}`;
  events.record(vm, { type: "Normal", reason: "SuccessfulDelete", message });
  const metadata = { ...vmi.metadata, deletionTimestamp: timestamp(now) };
  return { seen: { ...seen, vmi: { ...vmi, metadata } } };
}

function requestStart({ api }: ControlDeps, vm: Machine, signal: AbortSignal): Promise<Machine> {
  const { stateChangeRequests = [] } = vm.status ?? {};
  const requests = [{ action: "Start" }, ...stateChangeRequests];
  const changed = { ...vm, status: { ...vm.status, stateChangeRequests: requests } };
  return api.update(MACHINES, changed, { subresource: "status", signal });
}

function runAlways({ api }: ControlDeps, vm: Machine, signal: AbortSignal): Promise<Machine> {
  const isOld = vm.spec.running !== undefined;
  const path = pointer("spec", isOld ? "running" : "runStrategy");
  const [from, to] = isOld ? [false, true] : ["Halted", "Always"];
  const options = { signal };
  return api.patch(
    MACHINES,
    placeOf(vm),
    [
      { op: "test", path: pointer("metadata", "uid"), value: vm.metadata.uid },
      { op: "test", path, value: from },
      { op: "replace", path, value: to },
    ],
    options,
  );
}

async function tellGeneration(
  { api }: ControlDeps,
  vm: Machine,
  vmi: Instance,
  signal: AbortSignal,
): Promise<void> {
  await api.patch(INSTANCES, placeOf(vmi), generation(vm, vmi), { signal });
}

/** The instance's controller lets its guest follow. */
function updateLive(
  { api }: ControlDeps,
  vm: Machine,
  { vmi, operations }: Step & { readonly do: "updateLive" },
  signal: AbortSignal,
): Promise<Instance> {
  return api.patch(INSTANCES, placeOf(vmi), [...generation(vm, vmi), ...operations], { signal });
}

/** Of the very instance. One that was not made by a machine is told none. */
function generation(vm: Machine, { metadata }: Instance): readonly JsonPatchOperation[] {
  const path = pointer("metadata", "annotations", GENERATION);
  const value = String(vm.metadata.generation ?? 0);
  const isTold = metadata.annotations?.[GENERATION] !== undefined;
  return [
    { op: "test", path: pointer("metadata", "uid"), value: metadata.uid },
    ...(isTold ? ([{ op: "replace", path, value }] as const) : []),
  ];
}

import { isDeepStrictEqual } from "node:util";
import { kindOf, messageOf } from "@trine/base";
import type { JsonPatchOperation } from "@trine/kube-client";
import {
  MACHINE_FINALIZER,
  Report,
  VIRTUAL_MACHINE,
  type VirtualMachine,
  checkShape,
  defaultMachine,
} from "@trine/kube-types";
import type { VirtApiDeps } from "../deps.ts";
import { Refusal } from "../refusals/refusal.ts";
import type { Admit } from "./hook.ts";
import { metadataFaults } from "./instance-metadata.ts";
import { faultsOf, isJudged } from "./judge-spec.ts";
import { refuseCauses, refuseReport } from "./refuse.ts";
import { ALLOWED, type Verdict } from "./review.ts";
import { inertWarnings } from "./warnings.ts";

/** Fills in what must be the same at every start. A machine that is written anew keeps what it was given once. */
export const defaultTheMachine: Admit = (deps, { operation, object, oldObject }) => {
  if (operation !== "CREATE" && operation !== "UPDATE") return ALLOWED;
  const report = new Report();
  checkShape(VIRTUAL_MACHINE.schema.node, object, "", report);
  // The API server refuses it by the CRD, in its own words.
  if (report.count > 0) return ALLOWED;
  const machine = object as unknown as VirtualMachine;
  if (machine.metadata?.deletionTimestamp !== undefined) return ALLOWED;
  const known = withOldIdentity(machine, (oldObject ?? undefined) as VirtualMachine | undefined);
  const { spec } = defaultMachine(known, deps.defaults(), deps);
  const patch: JsonPatchOperation[] = [
    ...(isDeepStrictEqual(spec, machine.spec)
      ? []
      : [{ op: "replace", path: "/spec", value: spec } as const]),
    ...(operation === "CREATE" ? held(machine) : []),
  ];
  return patch.length === 0 ? ALLOWED : { allowed: true, patch };
};

/** Its controller would hold it first of all: that is a write less at each start. */
function held({ metadata }: VirtualMachine): JsonPatchOperation[] {
  const finalizers = metadata?.finalizers ?? [];
  if (finalizers.includes(MACHINE_FINALIZER)) return [];
  return [{ op: "add", path: "/metadata/finalizers", value: [...finalizers, MACHINE_FINALIZER] }];
}

/** A manifest that is applied again does not say the firmware's identity, and the guest must not see another. */
function withOldIdentity(machine: VirtualMachine, old: VirtualMachine | undefined): VirtualMachine {
  const before = old?.spec.template.spec?.domain.firmware;
  const { spec, ...template } = machine.spec.template;
  if (before === undefined || spec === undefined) return machine;
  const { uuid, serial } = before;
  const firmware = {
    ...(uuid !== undefined && { uuid }),
    ...(serial !== undefined && { serial }),
    ...spec.domain.firmware,
  };
  const domain = { ...spec.domain, firmware };
  return {
    ...machine,
    spec: { ...machine.spec, template: { ...template, spec: { ...spec, domain } } },
  };
}

/** Judges a machine: its own faults, and its instance type's. */
export const judgeMachine: Admit = async (deps, request, signal) => {
  const report = faultsOf(request);
  if (report !== undefined) return refuseReport(report);
  if (!isJudged(request)) return ALLOWED;
  const machine = request.object as unknown as VirtualMachine;
  const at = "spec.template.metadata";
  const isSystem = deps.isSystem(request.userInfo.username);
  const faults = metadataFaults(machine.spec.template.metadata, at, isSystem);
  if (faults.length > 0) return refuseCauses(faults);
  const refused = await judgeExpanded(deps, machine, signal);
  if (refused !== undefined) return refused;
  const { running, template } = machine.spec;
  const deprecated = "spec.running is deprecated, please use spec.runStrategy instead.";
  const inert =
    template.spec === undefined ? [] : inertWarnings(deps, template.spec, "spec.template.spec");
  return { allowed: true, warnings: [...(running === undefined ? [] : [deprecated]), ...inert] };
};

/** With instance type and preference it must still be a machine. */
async function judgeExpanded(
  deps: Pick<VirtApiDeps, "expand">,
  machine: VirtualMachine,
  signal: AbortSignal,
): Promise<Verdict | undefined> {
  const { instancetype, preference } = machine.spec;
  if (instancetype === undefined && preference === undefined) return undefined;
  try {
    await deps.expand(machine, signal);
    return undefined;
  } catch (cause) {
    if (cause instanceof Refusal) return { allowed: false, status: cause.status };
    const kind = kindOf(cause);
    if (kind !== "notFound" && kind !== "invalid") throw cause;
    const field = instancetype === undefined ? "spec.preference" : "spec.instancetype";
    return refuseCauses([{ reason: "FieldValueInvalid", message: messageOf(cause), field }]);
  }
}

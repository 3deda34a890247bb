import { isDeepStrictEqual } from "node:util";
import {
  Report,
  VIRTUAL_MACHINE_INSTANCE,
  type VirtualMachineInstance,
  checkShape,
  defaultInstance,
} from "@trine/kube-types";
import type { Admit } from "./hook.ts";
import { metadataFaults } from "./instance-metadata.ts";
import { faultsOf } from "./judge-spec.ts";
import { refuseCauses, refuseReport } from "./refuse.ts";
import { ALLOWED } from "./review.ts";
import { inertWarnings } from "./warnings.ts";

/** A new instance is filled in; the status of an old one is its controller's, whatever somebody else writes there. */
export const defaultTheInstance: Admit = (deps, { operation, object, oldObject, userInfo }) => {
  const report = new Report();
  checkShape(VIRTUAL_MACHINE_INSTANCE.schema.node, object, "", report);
  // The API server refuses it by the CRD, in its own words.
  if (report.count > 0) return ALLOWED;
  const instance = object as unknown as VirtualMachineInstance;
  if (operation === "CREATE") {
    const fresh = { uuid: deps.uuid, now: deps.now() };
    const { spec, status, metadata } = defaultInstance(instance, deps.defaults(), fresh);
    // What a machine was started as; users' words of a status are not taken.
    const name = deps.isSystem(userInfo.username)
      ? instance.status?.virtualMachineRevisionName
      : undefined;
    const whole = { ...status, ...(name !== undefined && { virtualMachineRevisionName: name }) };
    return {
      allowed: true,
      patch: [
        { op: "add", path: "/spec", value: spec },
        { op: "add", path: "/status", value: whole },
        { op: "add", path: "/metadata/finalizers", value: metadata?.finalizers },
      ],
    };
  }
  if (operation !== "UPDATE" || deps.isSystem(userInfo.username)) return ALLOWED;
  const old = oldObject as unknown as VirtualMachineInstance;
  if (isDeepStrictEqual(old.status, instance.status)) return ALLOWED;
  if (old.status === undefined)
    return { allowed: true, patch: [{ op: "remove", path: "/status" }] };
  return { allowed: true, patch: [{ op: "add", path: "/status", value: old.status }] };
};

export const judgeNewInstance: Admit = (deps, request) => {
  const report = faultsOf(request);
  if (report !== undefined) return refuseReport(report);
  const { metadata, spec } = request.object as unknown as VirtualMachineInstance;
  const faults = metadataFaults(metadata, "metadata", deps.isSystem(request.userInfo.username));
  if (faults.length > 0) return refuseCauses(faults);
  return { allowed: true, warnings: inertWarnings(deps, spec, "spec") };
};

import { isDeepStrictEqual } from "node:util";
import {
  Report,
  VIRTUAL_MACHINE_INSTANCE,
  type VirtualMachineInstance,
  checkShape,
  defaultInstance,
} from "@trine/kube-types";
import type { Admit } from "./hook.ts";
import { faultsOf } from "./judge-spec.ts";
import { refuseCauses, refuseReport } from "./refuse.ts";
import { ALLOWED } from "./review.ts";
import { inertWarnings } from "./warnings.ts";

/** Labels that say what the control plane knows, and that others rely on. */
const RESERVED = [
  "kubevirt.io/created-by",
  "kubevirt.io/migrationJobUID",
  "kubevirt.io/nodeName",
  "kubevirt.io/migrationTargetNodeName",
  "kubevirt.io/schedulable",
  "kubevirt.io/install-strategy",
];

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
    return {
      allowed: true,
      patch: [
        { op: "add", path: "/spec", value: spec },
        { op: "add", path: "/status", value: status },
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
  const labels = metadata?.labels ?? {};
  if (!deps.isSystem(request.userInfo.username) && RESERVED.some((label) => label in labels)) {
    const message =
      "creation of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
    return refuseCauses([{ reason: "FieldValueNotSupported", message, field: "metadata.labels" }]);
  }
  return { allowed: true, warnings: inertWarnings(deps, spec, "spec") };
};

/** What an instance is does not change under it; only the control plane, asked by a subresource, may. */
export const judgeChangedInstance: Admit = (deps, { object, oldObject, userInfo }) => {
  if (deps.isSystem(userInfo.username)) return ALLOWED;
  const now = object as unknown as VirtualMachineInstance;
  const old = oldObject as unknown as VirtualMachineInstance;
  if (!isDeepStrictEqual(now.spec, old.spec)) {
    const message = "update of VMI object is restricted";
    return refuseCauses([{ reason: "FieldValueNotSupported", message, field: "spec" }]);
  }
  const reserved = ({ metadata }: VirtualMachineInstance): unknown[] =>
    RESERVED.map((label) => metadata?.labels?.[label]);
  if (!isDeepStrictEqual(reserved(now), reserved(old))) {
    const message =
      "modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited";
    return refuseCauses([{ reason: "FieldValueNotSupported", message, field: "metadata.labels" }]);
  }
  return ALLOWED;
};

import type { VirtualMachineInstanceMigration } from "@trine/kube-types";
import { findInstance, isFinal } from "../subresources/objects.ts";
import { MIGRATIONS } from "../subresources/migrate.ts";
import type { Admit } from "./hook.ts";
import { faultsOf } from "./judge-spec.ts";
import { refuseBadly, refuseCauses, refuseReport } from "./refuse.ts";
import { ALLOWED, type Verdict } from "./review.ts";

/** A wish to move a machine: it must be there, run, be able to move, and move nowhere yet. */
export const judgeMigration: Admit = async (deps, request, signal) => {
  const report = faultsOf(request);
  if (report !== undefined) return refuseReport(report);
  const { spec } = request.object as unknown as VirtualMachineInstanceMigration;
  const { namespace, userInfo } = request;
  const name = spec.vmiName ?? "";
  if (spec.priority !== undefined && !deps.isSystem(userInfo.username)) {
    const message =
      "Migration priority queue, only virt-controller is allowed to set priority field";
    return refuseCauses([{ reason: "FieldValueForbidden", message, field: "spec.priority" }]);
  }
  const instance = await findInstance(deps, { namespace, name }, signal);
  if (instance === undefined) return refuseBadly(`the VMI "${namespace}/${name}" does not exist`);
  if (isFinal(instance)) return refuseBadly("Cannot migrate VMI in finalized state.");
  const movable = instance.status?.conditions?.find(({ type }) => type === "LiveMigratable");
  if (movable?.status !== "True") {
    const { reason = "", message = "it is not known to be live-migratable" } = movable ?? {};
    return refuseBadly(`Cannot migrate VMI, Reason: ${reason}, Message: ${message}`);
  }
  return (await inFlight(deps, namespace, name, signal)) ?? ALLOWED;
};

async function inFlight(
  { kube }: Parameters<Admit>[0],
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<Verdict | undefined> {
  const { items } = await kube.list(MIGRATIONS, { namespace }, signal);
  const other = items.find(
    ({ spec, status }) =>
      spec.vmiName === name && status?.phase !== "Succeeded" && status?.phase !== "Failed",
  );
  if (other === undefined) return undefined;
  const job = `Active migration job (${other.metadata.uid})`;
  return refuseBadly(
    `in-flight migration detected. ${job} is currently already in progress for VMI ${name}.`,
  );
}

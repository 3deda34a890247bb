import { kindOf, messageOf } from "@trine/base";
import { PODS, type Pod, type Stored } from "@trine/kube-client";
import type { VirtualMachineInstance } from "@trine/kube-types";
import type { VirtApiDeps } from "../deps.ts";
import { INSTANCES, hasCondition } from "../subresources/objects.ts";
import type { Admit } from "./hook.ts";
import { ALLOWED, type AdmissionRequest, type Verdict } from "./review.ts";

/** Says which machine a pod runs. */
const DOMAIN = "kubevirt.io/domain";

/** 429: who evicts asks again. */
function denied(message: string): Verdict {
  return { allowed: false, status: { message, code: 429, reason: "TooManyRequests" } };
}

/**
 * A machine's pod is not evicted while the machine can be moved out of it: the wish is noted in its status instead.
 * The texts are read by the descheduler.
 */
export const judgeEviction: Admit = async (deps, request, signal) => {
  const { namespace, name } = request;
  const pod = await deps.kube.get(PODS, { namespace, name }, signal).catch((cause: unknown) => {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  });
  const instanceName = pod?.metadata.annotations?.[DOMAIN];
  if (pod === undefined || !isMachines(pod) || instanceName === undefined) return ALLOWED;
  const place = { namespace, name: instanceName };
  const found = await deps.kube.get(INSTANCES, place, signal).catch((cause: unknown) => {
    return denied(`kubevirt failed getting the vmi: ${messageOf(cause)}`);
  });
  return "allowed" in found ? found : judgeMachinesPod(deps, request, pod, found, signal);
};

function isMachines({ metadata, status }: Stored<Pod>): boolean {
  const done = status?.phase === "Succeeded" || status?.phase === "Failed";
  return metadata.labels?.["kubevirt.io"] === "virt-launcher" && !done;
}

async function judgeMachinesPod(
  deps: VirtApiDeps,
  request: AdmissionRequest,
  pod: Stored<Pod>,
  instance: Stored<VirtualMachineInstance>,
  signal: AbortSignal,
): Promise<Verdict> {
  const { namespace } = request;
  const { name } = instance.metadata;
  const strategy = instance.spec.evictionStrategy ?? deps.defaults().evictionStrategy;
  const movable = hasCondition(instance, "LiveMigratable", "True");
  if (strategy === "LiveMigrate" && !movable) {
    const why = "is configured with an eviction strategy but is not live-migratable";
    return denied(`VMI ${name} ${why}`);
  }
  const moves = strategy === "LiveMigrate" || strategy === "LiveMigrateIfPossible";
  if (strategy !== "External" && !(moves && movable)) return ALLOWED;
  const triggered = `Eviction triggered evacuation of VMI "${namespace}/${name}"`;
  if ((instance.status?.evacuationNodeName ?? "") !== "") {
    return denied(`Evacuation in progress: ${triggered}`);
  }
  const node = pod.spec.nodeName ?? "";
  if (instance.status?.nodeName !== node) return denied("Eviction request for target Pod");
  try {
    await mark(deps, instance, { node, dryRun: isDryRun(request), signal });
  } catch (cause) {
    return denied(`kubevirt failed marking the vmi for eviction: ${messageOf(cause)}`);
  }
  return denied(triggered);
}

async function mark(
  { kube }: VirtApiDeps,
  { metadata: { namespace = "", name, uid } }: Stored<VirtualMachineInstance>,
  { node, dryRun, signal }: { node: string; dryRun: boolean; signal: AbortSignal },
): Promise<void> {
  const operations = [
    { op: "test", path: "/metadata/uid", value: uid },
    { op: "add", path: "/status/evacuationNodeName", value: node },
  ] as const;
  await kube.patch(INSTANCES, { namespace, name }, operations, { dryRun, signal });
}

function isDryRun({ dryRun, object }: AdmissionRequest): boolean {
  const options = object?.["deleteOptions"] as { dryRun?: readonly string[] } | null | undefined;
  return dryRun === true || options?.dryRun?.[0] === "All";
}

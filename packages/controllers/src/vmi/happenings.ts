import { messageOf } from "@trine/base";
import type { Happening } from "@trine/kube-client";
import type { VirtualMachineInstanceCondition } from "@trine/kube-types";
import { CREDENTIALS, refusalReason, refusalText } from "./conditions.ts";
import { isRootVolume } from "./disks.ts";
import { type Step, cameTo } from "./next-step.ts";
import { type Instance, type Seen, machineStatus } from "./seen.ts";

type Condition = VirtualMachineInstanceCondition;

const normal = (reason: string, message: string): Happening => ({
  type: "Normal",
  reason,
  message,
});
const warning = (reason: string, message: string): Happening => ({
  type: "Warning",
  reason,
  message,
});

/** The API server refused the pod. */
export function notCreated(cause: unknown): Happening {
  return warning(
    "FailedCreate",
    `The machine's pod cannot be made: ${messageOf(cause)}. It is tried again`,
  );
}

/** What users are told of a step that was done: the cause, and what helps. */
export function happeningsOf(seen: Seen, step: Step, after: Instance): readonly Happening[] {
  return [
    ...ofTheStep(seen, step),
    ...ofThePhase(seen, after),
    ...ofTheImage(seen, after),
    ...ofCredentials(seen, after),
  ];
}

/** KubeVirt's words for events of it. An agent that has not answered yet is none. */
function ofCredentials({ vmi }: Seen, after: Instance): Happening[] {
  const of = ({ status }: Instance): Condition | undefined =>
    status?.conditions?.find(({ type }) => type === CREDENTIALS);
  const said = of(after);
  const before = of(vmi);
  const isNews = before?.status !== said?.status || before?.message !== said?.message;
  if (said === undefined || !isNews) return [];
  if (said.status === "True") {
    return [normal("AccessCredentialsSyncSuccess", "Access credentials sync successful.")];
  }
  if (before === undefined) return [];
  const why = said.message ?? "";
  return [warning("AccessCredentialsSyncFailed", `Access credentials sync failed: ${why}`)];
}

function ofTheStep({ rendering, vmi }: Seen, step: Step): Happening[] {
  if (step.do === "createPod") {
    return [
      normal("SuccessfulCreate", `Created virtual machine pod ${step.pod.metadata?.name ?? ""}`),
    ];
  }
  if (step.do === "deletePod") {
    const { name } = step.pod.metadata;
    return [
      normal("ShuttingDown", "Signaled Graceful Shutdown"),
      normal(
        "SuccessfulDelete",
        `Deleted virtual machine pod ${name}: ${step.graceSeconds} s to end`,
      ),
    ];
  }
  if (rendering === undefined || !("refusals" in rendering)) return [];
  const { refusals } = rendering;
  const said = vmi.status?.conditions?.find(({ type }) => type === "Synchronized")?.message;
  const text = refusalText(refusals);
  // Said once; the condition keeps it.
  return said === text
    ? []
    : [warning(refusalReason(refusals), `The machine's pod cannot be made: ${text}`)];
}

const PULLS: readonly string[] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"];

/** Nobody but a node's installation brings the image that is empty; kubelet's own words are in the condition. */
function ofTheImage({ vmi, spec, pod }: Seen, after: Instance): Happening[] {
  const lacks = ({ status }: Instance): boolean => {
    const said = status?.conditions?.find(({ type }) => type === "Synchronized");
    return PULLS.includes(said?.reason ?? "");
  };
  if (lacks(vmi) || !lacks(after) || !isRootVolume(spec)) return [];
  const image = machineStatus({ pod })?.image ?? "";
  const node = pod?.spec.nodeName ?? "";
  const what = `Node ${node} lacks the image ${image} of machines whose root is a volume`;
  return [warning("MissingEmptyImage", `${what}: run trine install there`)];
}

function ofThePhase({ vmi, isFenced, pod }: Seen, after: Instance): Happening[] {
  if (cameTo(vmi, after, "Running")) return [normal("Started", "VirtualMachineInstance started.")];
  if (cameTo(vmi, after, "Succeeded")) {
    return [normal("Stopped", "The VirtualMachineInstance was shut down.")];
  }
  if (cameTo(vmi, after, "Failed")) {
    const why = isFenced
      ? "its node is out of service"
      : pod === undefined
        ? "its pod is gone"
        : `its pod ended: ${after.status?.reason ?? "see its log"}`;
    return [warning("Stopped", `The VirtualMachineInstance crashed: ${why}.`)];
  }
  if (cameTo(vmi, after, "Unknown")) {
    const node = pod?.spec.nodeName ?? "";
    return [
      warning(
        "NodeUnresponsive",
        `Node ${node} is not heard: its trined does not answer. Its machine is not started elsewhere until its pod is gone or the node has the taint node.kubernetes.io/out-of-service`,
      ),
    ];
  }
  return [];
}

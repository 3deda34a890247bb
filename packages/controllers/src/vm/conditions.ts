import type { VirtualMachineCondition } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";
import { RESTART_REQUIRED, restartReason } from "./restart-required.ts";
import { type Seen, isLeaving } from "./seen.ts";

/** What stands against the machine, from the last try to move it on. */
export interface Failure {
  readonly reason: string;
  readonly message: string;
}

type Said = Omit<VirtualMachineCondition, "lastTransitionTime" | "lastProbeTime">;

/** Conditions that are the machine's own, not its instance's. */
const OWN = new Set(["Ready", "Failure", RESTART_REQUIRED]);
/** These outlast an instance. */
const LASTING = new Set(["ManualRecoveryRequired", "VolumesChange"]);

/** The machine's conditions: its own, and all of its instance. What says the same as before is as it was. */
export function conditionsOf(
  seen: Seen,
  failure: Failure | undefined,
): readonly VirtualMachineCondition[] {
  const { vm, vmi, now } = seen;
  const before = vm.status?.conditions ?? [];
  const mirrored = (vmi?.status?.conditions ?? []).filter(({ type }) => !OWN.has(type));
  const lasting =
    vmi === undefined ? before.filter(({ type }) => LASTING.has(type)) : ([] as const);
  const own: readonly Said[] = [
    readyOf(seen),
    ...(failure === undefined ? [] : [{ type: "Failure", status: "True", ...failure }]),
    ...restartOf(seen),
  ];
  const isSame = (a: Said, b: Said): boolean =>
    a.type === b.type &&
    a.status === b.status &&
    (a.reason ?? "") === (b.reason ?? "") &&
    (a.message ?? "") === (b.message ?? "");
  return [...own, ...mirrored, ...lasting].map((said) => {
    const same = before.find((each) => isSame(each, said));
    if (same !== undefined) return same;
    const changed = before.find((each) => each.type === said.type && each.status === said.status);
    return { lastTransitionTime: changed?.lastTransitionTime ?? timestamp(now), ...said };
  });
}

/** The instance's readiness. One that does not tell yet is as one that is known not to run: it saves a write at each start. */
function readyOf({ vmi }: Seen): Said {
  const type = "Ready";
  if (vmi === undefined) {
    return { type, status: "False", reason: "VMINotExists", message: "VMI does not exist" };
  }
  const found = vmi.status?.conditions?.find((each) => each.type === type);
  if (found !== undefined) return found;
  const message = "Guest VM is not reported as running";
  return { type, status: "False", reason: "GuestNotRunning", message };
}

function restartOf(seen: Seen): readonly Said[] {
  const { vmi } = seen;
  if (vmi === undefined || isLeaving(vmi)) return [];
  const message = restartReason(seen);
  if (message === undefined) return [];
  return [{ type: RESTART_REQUIRED, status: "True", message }];
}

import { TrineError } from "@trine/base";
import type { Engine, MachineControl, Pod } from "@trine/engine";
import type { MachineReport } from "@trine/node-door";

/** What the door needs of a pod. */
export interface DoorPod extends Pick<
  Pod,
  "identity" | "pause" | "resume" | "giveSize" | "containerd" | "summary"
> {
  readonly control?: Pick<MachineControl, keyof MachineControl> | undefined;
  /** Of a pod whose containers fill volumes. */
  readonly imports?: Pod["imports"];
  readonly uploadSocket?: Pod["uploadSocket"];
}

/** What the door needs of the engine. */
export interface DoorEngine {
  machinePods(): Promise<readonly DoorPod[]>;
  onChange: Engine["onChange"];
}

/** A pod's machine that is there. */
export interface FoundMachine {
  readonly pod: DoorPod;
  readonly control: NonNullable<DoorPod["control"]>;
  readonly report: MachineReport;
}

/** One for each pod: a pod whose sandbox was made anew is the newer one. */
export async function foundMachines(engine: DoorEngine): Promise<FoundMachine[]> {
  const byPod = new Map<string, FoundMachine>();
  for (const pod of await engine.machinePods()) {
    const { control } = pod;
    const report = control?.report();
    if (control === undefined || report === undefined) continue;
    const key = keyOf(report);
    const before = byPod.get(key);
    if (before === undefined || isBetter(report, before.report)) {
      byPod.set(key, { pod, control, report });
    }
  }
  return [...byPod.values()];
}

export function keyOf({
  namespace,
  pod,
  uid,
}: Pick<MachineReport, "namespace" | "pod" | "uid">): string {
  return [namespace, pod, uid].join("/");
}

/** Kinds `notFound`, and `conflict` where the pod of that name is another. */
export async function findMachine(
  engine: DoorEngine,
  wanted: { readonly namespace: string; readonly pod: string; readonly uid: string },
): Promise<FoundMachine> {
  const { namespace, pod, uid } = wanted;
  const named = (await foundMachines(engine)).filter(
    ({ report }) => report.namespace === namespace && report.pod === pod,
  );
  const found = named.find(({ report }) => report.uid === uid);
  if (found !== undefined) return found;
  const name = `${namespace}/${pod}`;
  const [other] = named;
  if (other === undefined) throw new TrineError("notFound", `no machine of pod ${name} is here`);
  throw new TrineError("conflict", `pod ${name} has uid ${other.report.uid}, not ${uid}`);
}

function isBetter(report: MachineReport, than: MachineReport): boolean {
  const isOver = ({ phase }: MachineReport): boolean => phase === "stopped" || phase === "failed";
  if (isOver(report) !== isOver(than)) return isOver(than);
  return report.since > than.since;
}

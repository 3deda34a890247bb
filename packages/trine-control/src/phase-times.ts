import type { Cache } from "@trine/kube-client";
import type { VirtualMachineInstance } from "@trine/kube-types";
import { Histogram, type Registry } from "prom-client";

const BUCKETS = [0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 90, 120, 180, 300, 600];

/** How long instances take from phase to phase, by KubeVirt's names and by the times in their status. */
export class PhaseTimes {
  readonly #between: Histogram<"phase" | "last_phase">;
  readonly #fromCreation: Histogram<"phase">;
  readonly #fromDeletion: Histogram<"phase">;

  constructor(registry: Registry) {
    const shared = { buckets: BUCKETS, registers: [registry] };
    this.#between = new Histogram({
      ...shared,
      name: "kubevirt_vmi_phase_transition_time_seconds",
      help: "From an instance's last phase to this one.",
      labelNames: ["phase", "last_phase"],
    });
    this.#fromCreation = new Histogram({
      ...shared,
      name: "kubevirt_vmi_phase_transition_time_from_creation_seconds",
      help: "From an instance's creation to this phase.",
      labelNames: ["phase"],
    });
    this.#fromDeletion = new Histogram({
      ...shared,
      name: "kubevirt_vmi_phase_transition_time_from_deletion_seconds",
      help: "From the request to delete an instance to its last phase.",
      labelNames: ["phase"],
    });
  }

  /** Counts what changes from now on; how it was is not known. */
  follow(instances: Pick<Cache<VirtualMachineInstance>, "onChange">): void {
    instances.onChange((before, after) => {
      if (before?.metadata.uid === after?.metadata.uid) this.#changed(before, after);
    });
  }

  #changed(
    before: VirtualMachineInstance | undefined,
    after: VirtualMachineInstance | undefined,
  ): void {
    const phase = after?.status?.phase ?? "";
    const last = before?.status?.phase ?? "";
    if (after === undefined || phase === "" || phase === last) return;
    const at = timeOf(after, phase);
    const { creationTimestamp, deletionTimestamp } = after.metadata ?? {};
    const tell = (histogram: Histogram<"phase">, since: number): void => {
      if (Number.isFinite(at - since)) histogram.observe({ phase }, Math.max(0, at - since));
    };
    tell(this.#fromCreation, seconds(creationTimestamp));
    const isOver = phase === "Succeeded" || phase === "Failed";
    if (isOver) tell(this.#fromDeletion, seconds(deletionTimestamp));
    const took = at - timeOf(after, last);
    if (Number.isFinite(took)) {
      this.#between.observe({ phase, last_phase: last }, Math.max(0, took));
    }
  }
}

/** NaN where the status does not say it. */
function timeOf({ status }: VirtualMachineInstance, phase: string): number {
  const found = status?.phaseTransitionTimestamps?.find((each) => each.phase === phase);
  return seconds(found?.phaseTransitionTimestamp);
}

function seconds(time: unknown): number {
  return typeof time === "string" ? Date.parse(time) / 1000 : Number.NaN;
}

import type { Probe, VirtualMachineInstanceSpec } from "@trine/kube-types";
import type { Parts } from "./parts.ts";

/** What an agent of the guest that answers can do: kubelet's exec goes through it. */
const PING = { exec: { command: ["true"] } };

/** Probes are kubelet's own: by HTTP and TCP at the pod's address, by exec through the guest's agent. */
export function probeParts({ readinessProbe, livenessProbe }: VirtualMachineInstanceSpec): Parts {
  return {
    container: {
      ...(readinessProbe === undefined ? {} : { readinessProbe: probeOf(readinessProbe) }),
      ...(livenessProbe === undefined ? {} : { livenessProbe: probeOf(livenessProbe) }),
    },
  };
}

function probeOf({ guestAgentPing, ...probe }: Probe): Readonly<Record<string, unknown>> {
  return { ...probe, ...(guestAgentPing === undefined ? {} : PING) };
}

import type { VirtualMachineInstanceSpec } from "@trine/kube-types";
import { type Parts, defined, refused } from "./parts.ts";
import type { LaunchSettings } from "./settings.ts";

/** Seconds, where the spec says none: KubeVirt's. */
const GRACE = 30;
const LABEL = 63;

/**
 * What a machine has to end in. With 0 the API server would forget its pod while it still runs, and another could be
 * started beside it.
 */
export function graceSeconds({
  terminationGracePeriodSeconds,
}: VirtualMachineInstanceSpec): number {
  return Math.max(terminationGracePeriodSeconds ?? GRACE, 1);
}

/** Labels of the nodes that a machine may be on, and what fills its volumes. */
export function nodesFor(
  { nodeSelectors }: Pick<LaunchSettings, "nodeSelectors">,
  own: VirtualMachineInstanceSpec["nodeSelector"] | undefined,
): Readonly<Record<string, string>> {
  return { "kubernetes.io/arch": "amd64", ...nodeSelectors, ...own };
}

/** Where the pod runs, what it is called there, and how long it may take to end. */
export function placeParts(
  spec: VirtualMachineInstanceSpec,
  name: string,
  settings: LaunchSettings,
): Parts {
  const { architecture = "amd64", nodeSelector, subdomain, hostname } = spec;
  if (architecture !== "amd64") {
    return refused("spec.architecture", `${architecture} machines are not there yet: amd64 is`);
  }
  const { affinity, tolerations, topologySpreadConstraints, priorityClassName } = spec;
  const { schedulerName, dnsPolicy, dnsConfig } = spec;
  return {
    pod: {
      nodeSelector: nodesFor(settings, nodeSelector),
      terminationGracePeriodSeconds: graceSeconds(spec),
      hostname: hostname === undefined || hostname === "" ? hostnameOf(name) : hostname,
      ...defined({ affinity, tolerations, topologySpreadConstraints }),
      ...said({ priorityClassName, schedulerName, dnsPolicy, subdomain }),
      ...defined({ dnsConfig }),
    },
  };
}

/** A host's name is one label: what comes before the first dot, as KubeVirt has it. */
function hostnameOf(name: string): string {
  const [label = ""] = name.split(".");
  return label.slice(0, LABEL).replace(/-+$/, "");
}

/** Empty text says nothing. */
function said(
  texts: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const kept = Object.entries(texts).filter(([, text]) => text !== undefined && text !== "");
  return Object.fromEntries(kept) as Readonly<Record<string, string>>;
}

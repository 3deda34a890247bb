import type { Parts } from "./parts.ts";

/** KubeVirt's name of it, on an instance. */
const IGNITION = "kubevirt.io/ignitiondata";

/** What a guest that knows Ignition is told; the node judges whether it is a config. */
export function ignitionParts(annotations: Readonly<Record<string, string>> = {}): Parts {
  const config = annotations[IGNITION] ?? "";
  return config === "" ? {} : { annotations: { "trine.dev/ignition": config } };
}

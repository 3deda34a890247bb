import { TrineError } from "@trine/base";
import { masqueraded, requireFreeNetworks } from "@trine/pod-network";
import type { Binding, PodInterface, TapPair } from "@trine/pod-network";
import { interfacesOf } from "./pod-document.ts";
import type { PodDocument } from "./pod-document.ts";
import { tapOf } from "./tap.ts";

type Networks = Pick<PodDocument, "network" | "otherNetworks" | "bindings">;

/** Kind `invalid` for a binding of an interface that the pod has not, or that the pod's networks leave no room for. */
export function checkBindings(
  bindings: Networks["bindings"] = {},
  interfaces: readonly PodInterface[],
): void {
  const names = interfaces.map(({ name }) => name);
  const unknown = Object.keys(bindings).find((name) => name !== "*" && !names.includes(name));
  if (unknown !== undefined) {
    throw new TrineError(
      "invalid",
      `trine.dev/network-binding: the pod has no interface ${unknown}; it has ${names.join(", ")}`,
    );
  }
  const hidden = pairsOf(interfaces, bindings).filter((pair) => "guest" in pair);
  requireFreeNetworks(hidden, interfaces);
}

export function bindingOf(
  { bindings = {} }: Pick<Networks, "bindings">,
  { name }: PodInterface,
): Binding {
  return bindings[name] ?? bindings["*"] ?? "tap";
}

/** The pod's interfaces with the guest's taps, bound as the pod says. */
export function tapPairs(document: Networks): TapPair[] {
  return pairsOf(interfacesOf(document), document.bindings);
}

function pairsOf(
  interfaces: readonly PodInterface[],
  bindings: Networks["bindings"] = {},
): TapPair[] {
  return interfaces.map((pod, index) => {
    const tap = tapOf(index);
    const isHidden = bindingOf({ bindings }, pod) === "masquerade";
    return isHidden ? masqueraded(pod, tap, index) : { interface: pod, tap };
  });
}

/** The pod's interfaces as its guest has them, the primary one first. */
export function guestInterfaces(document: Networks): PodInterface[] {
  return tapPairs(document).map((pair) => ("guest" in pair ? pair.guest : pair.interface));
}

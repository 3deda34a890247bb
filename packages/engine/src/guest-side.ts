import { TrineError } from "@trine/base";
import { masqueraded } from "@trine/pod-network";
import type { Binding, PodInterface, TapPair } from "@trine/pod-network";
import { interfacesOf } from "./pod-document.ts";
import type { PodDocument } from "./pod-document.ts";
import { tapOf } from "./tap.ts";

type Networks = Pick<PodDocument, "network" | "otherNetworks" | "bindings">;

/** Kind `invalid` for a binding of an interface that the pod has not. */
export function checkBindings(
  bindings: Networks["bindings"] = {},
  interfaces: readonly PodInterface[],
): void {
  const names = interfaces.map(({ name }) => name);
  const unknown = Object.keys(bindings).find((name) => name !== "*" && !names.includes(name));
  if (unknown === undefined) return;
  throw new TrineError(
    "invalid",
    `trine.dev/network-binding: the pod has no interface ${unknown}; it has ${names.join(", ")}`,
  );
}

export function bindingOf({ bindings = {} }: Networks, { name }: PodInterface): Binding {
  return bindings[name] ?? bindings["*"] ?? "tap";
}

/** The pod's interfaces with the guest's taps, bound as the pod says. */
export function tapPairs(document: Networks): TapPair[] {
  return interfacesOf(document).map((pod, index) => {
    const tap = tapOf(index);
    const isHidden = bindingOf(document, pod) === "masquerade";
    return isHidden ? masqueraded(pod, tap, index) : { interface: pod, tap };
  });
}

/** The pod's interfaces as its guest has them, the primary one first. */
export function guestInterfaces(document: Networks): PodInterface[] {
  return tapPairs(document).map((pair) => ("guest" in pair ? pair.guest : pair.interface));
}

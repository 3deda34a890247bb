import { TrineError } from "@trine/base";
import {
  containersAddress,
  linkLocalOf,
  masqueraded,
  requireFreeNetworks,
} from "@trine/pod-network";
import type { Binding, PodInterface, TapPair } from "@trine/pod-network";
import { interfacesOf } from "./pod-document.ts";
import type { PodDocument } from "./pod-document.ts";
import { macvtapOf, tapOf } from "./tap.ts";

type Networks = Pick<PodDocument, "network" | "otherNetworks" | "bindings" | "hidden" | "guestMac">;

/** Kind `invalid` for a binding of an interface that the pod has not, or that the pod's networks leave no room for. */
export function checkBindings(
  bindings: Networks["bindings"] = {},
  interfaces: readonly PodInterface[],
  hidden?: Networks["hidden"],
): void {
  const named = Object.keys(bindings).filter((name) => name !== "*");
  requireInterfaces("trine.dev/network-binding", named, interfaces);
  const [, ...others] = interfaces;
  for (const each of others) {
    if (bindingOf({ bindings }, each) === "passt") refusePasst(each.name, "is not the first");
  }
  for (const each of interfaces.slice(0, 1)) {
    if (bindingOf({ bindings }, each) !== "passt") continue;
    if (each.addresses.length === 0) refusePasst(each.name, "has no address");
    // It ends at once: it has nobody to send the guest's packets to.
    if (!hasGateway(each)) refusePasst(each.name, "has no default route by a gateway");
  }
  const pairs = pairsOf(interfaces, { bindings, hidden });
  requireFreeNetworks(
    pairs.filter((pair) => "guest" in pair),
    interfaces,
  );
}

/** Kind `invalid` for a name that the annotation has and the pod has not. */
export function requireInterfaces(
  key: string,
  named: readonly string[],
  interfaces: readonly Pick<PodInterface, "name">[],
): void {
  const names = interfaces.map(({ name }) => name);
  const unknown = named.find((name) => !names.includes(name));
  if (unknown === undefined) return;
  const has = `the pod has no interface ${unknown}; it has ${names.join(", ")}`;
  throw new TrineError("invalid", `${key}: ${has}`);
}

/** Of a family that it has an address of. */
function hasGateway({ addresses, routes }: PodInterface): boolean {
  const families = new Set(addresses.map(({ family }) => family));
  return routes.some(
    ({ family, to, via }) => families.has(family) && to.endsWith("/0") && via !== undefined,
  );
}

function refusePasst(name: string, why: string): never {
  const what = `passt carries the pod's first interface and its addresses, and ${name} ${why}`;
  throw new TrineError("invalid", `trine.dev/network-binding: ${what}: use tap`);
}

export function bindingOf(
  { bindings = {} }: Pick<Networks, "bindings">,
  { name }: Pick<PodInterface, "name">,
): Binding {
  return bindings[name] ?? bindings["*"] ?? "tap";
}

/** The pod's interfaces with the guest's taps, bound as the pod says; without the first where passt carries that. */
export function tapPairs(document: Networks): TapPair[] {
  return pairsOf(interfacesOf(document), document).slice(hasPasst(document) ? 1 : 0);
}

/** Whether passt carries the pod's first interface. */
export function hasPasst(document: Networks): boolean {
  const [primary] = interfacesOf(document);
  return primary !== undefined && bindingOf(document, primary) === "passt";
}

/** Where the guest finds the containers beside it, if any come; undefined where none can. */
export function containersAtOf(document: Networks): string | undefined {
  const [primary] = interfacesOf(document);
  if (primary === undefined) return undefined;
  const binding = bindingOf(document, primary);
  if (binding === "tap") return containersAddress(primary);
  const hasIpv4 = primary.addresses.some(({ family }) => family === "ipv4");
  return binding === "passt" && hasIpv4 ? linkLocalOf(0) : undefined;
}

/** Of each of the guest's network cards the link of the pod's namespace that it is; undefined where passt is. */
export function guestLinks(document: Networks): (string | undefined)[] {
  return interfacesOf(document).map((each, index) => {
    const binding = bindingOf(document, each);
    if (binding === "passt") return undefined;
    return binding === "macvtap" ? macvtapOf(index) : tapOf(index);
  });
}

function pairsOf(
  interfaces: readonly PodInterface[],
  { bindings = {}, hidden = {} }: { [K in "bindings" | "hidden"]?: Networks[K] | undefined },
): TapPair[] {
  return interfaces.map((pod, index) => {
    const tap = tapOf(index);
    const binding = bindingOf({ bindings }, pod);
    if (binding === "masquerade") return masqueraded(pod, tap, index, hidden[pod.name]);
    const macvtap = macvtapOf(index);
    return { interface: pod, tap, ...(binding === "macvtap" ? { macvtap } : {}) };
  });
}

/** The pod's interfaces as its guest has them, the primary one first. */
export function guestInterfaces(document: Networks): PodInterface[] {
  const { guestMac } = document;
  return pairsOf(interfacesOf(document), document).map((pair, index) => {
    if ("macvtap" in pair) return withLinkLocal(pair.interface, index);
    const guest = "guest" in pair ? pair.guest : pair.interface;
    return index === 0 && guestMac !== undefined ? { ...guest, mac: guestMac } : guest;
  });
}

/** What it sends to its gateway goes past the namespace: it has to know that the namespace is its neighbour. */
function withLinkLocal(pod: PodInterface, index: number): PodInterface {
  if (!pod.addresses.some(({ family }) => family === "ipv4")) return pod;
  const route = { family: "ipv4", to: `${linkLocalOf(index)}/32` } as const;
  return { ...pod, routes: [route, ...pod.routes] };
}

import type { PodInterface } from "@trine/pod-network";
import { expect, test } from "vitest";
import type { PodDocument } from "./pod-document.ts";
import {
  checkBindings,
  containersAtOf,
  guestInterfaces,
  guestLinks,
  requireInterfaces,
  tapPairs,
} from "./guest-side.ts";

const pod = (name: string, address: string): PodInterface => ({
  name,
  mac: "02:00:00:00:00:01",
  mtu: 1500,
  addresses: [{ family: "ipv4", address, prefix: 24 }],
  routes: [],
});
const document = {
  network: pod("eth0", "10.1.0.2"),
  otherNetworks: [pod("net1", "10.2.0.2"), pod("net2", "10.3.0.2")],
};

test("the guest's first card has the MAC that is said, but not as a macvtap, and no other has", () => {
  const guestMac = "02:00:00:00:00:77";
  const macs = (bindings: NonNullable<PodDocument["bindings"]>): string[] =>
    guestInterfaces({ ...document, bindings, guestMac }).map(({ mac }) => mac);
  const own = [document.network, ...document.otherNetworks].map(({ mac }) => mac);
  expect(macs({ "*": "masquerade" })).toEqual([guestMac, ...own.slice(1)]);
  expect(macs({ "*": "passt" })).toEqual([guestMac, ...own.slice(1)]);
  expect(macs({ "*": "macvtap" })).toEqual(own);
});

test("a guest behind its pod's addresses is in the network that is said, if there is room for it", () => {
  const bindings = { "*": "masquerade" } as const;
  const ports = [{ protocol: "tcp", first: 80, last: 80 }] as const;
  const hidden = { net1: { ipv4: "10.11.12.0/24", ports } };
  const addresses = guestInterfaces({ ...document, bindings, hidden }).map(
    (each) => each.addresses,
  );
  expect(addresses).toMatchObject([
    [{ address: "10.0.2.2" }],
    [{ address: "10.11.12.2" }],
    [{ address: "10.0.4.2" }],
  ]);
  const pairs = tapPairs({ ...document, bindings, hidden });
  expect(pairs.map((pair) => "ports" in pair && pair.ports)).toEqual([false, ports, false]);
  const all = [document.network, ...document.otherNetworks];
  expect(() => {
    checkBindings(bindings, all, { net1: { ipv4: "10.1.0.0/16" } });
  }).toThrow("behind net1 the guest has 10.1.0.0/16, which overlaps 10.1.0.0/24 of the pod's eth0");
});

test("without a word each interface is the guest's as it is, also in an older daemon's document", () => {
  expect(guestInterfaces(document)).toEqual([document.network, ...document.otherNetworks]);
  expect(guestInterfaces({ network: document.network })).toEqual([document.network]);
  expect(guestInterfaces({})).toEqual([]);
});

test("a binding by name goes before the one of all", () => {
  const bindings = { "*": "masquerade", net1: "tap" } as const;
  const [first, second, third] = tapPairs({ ...document, bindings });
  expect(first).toMatchObject({ tap: "tap0", guest: { addresses: [{ address: "10.0.2.2" }] } });
  expect(second).toEqual({ tap: "tap1", interface: document.otherNetworks[0] });
  expect(third).toMatchObject({ tap: "tap2", guest: { addresses: [{ address: "10.0.4.2" }] } });
});

test("a network that the pod has itself is not put behind it: refused by name", () => {
  const taken = { ...pod("net1", "10.2.0.2"), addresses: pod("net1", "10.0.2.77").addresses };
  const check = (bindings: Record<string, "tap" | "masquerade">) => () => {
    checkBindings(bindings, [document.network, taken]);
  };
  expect(check({ eth0: "masquerade" })).toThrow(
    "behind eth0 the guest has 10.0.2.0/24, which overlaps 10.0.2.0/24 of the pod's net1: bind eth0 as tap",
  );
  expect(check({ net1: "masquerade" })).not.toThrow();
});

test("passt carries the first interface; a macvtap's guest knows that its namespace is beside it", () => {
  const bindings = { eth0: "passt", net1: "macvtap" } as const;
  const pairs = tapPairs({ ...document, bindings });
  expect(pairs).toMatchObject([{ tap: "tap1", macvtap: "mvt1" }, { tap: "tap2" }]);
  expect(guestLinks({ ...document, bindings })).toEqual([undefined, "mvt1", "tap2"]);
  const [first, second] = guestInterfaces({ ...document, bindings });
  expect(first).toEqual(document.network);
  expect(second?.routes).toEqual([{ family: "ipv4", to: "169.254.77.2/32" }]);
});

test("passt is refused for what it cannot carry", () => {
  const all = [document.network, ...document.otherNetworks];
  expect(() => {
    checkBindings({ "*": "passt", eth0: "tap" }, all);
  }).toThrow(
    "passt carries the pod's first interface and its addresses, and net1 is not the first",
  );
  expect(() => {
    checkBindings({ eth0: "passt" }, [{ ...document.network, addresses: [] }]);
  }).toThrow("and eth0 has no address");
  const withRoute = (family: "ipv4" | "ipv6", to: string, via?: string) => () => {
    const routes = [{ family, to, ...(via === undefined ? {} : { via }) }];
    checkBindings({ eth0: "passt" }, [{ ...document.network, routes }]);
  };
  const refusal = "and eth0 has no default route by a gateway: use tap";
  expect(withRoute("ipv4", "10.0.0.0/8", "10.1.0.1")).toThrow(refusal);
  expect(withRoute("ipv4", "0.0.0.0/0")).toThrow(refusal);
  expect(withRoute("ipv6", "::/0", "fd00::1")).toThrow(refusal);
  expect(withRoute("ipv4", "0.0.0.0/0", "10.1.0.1")).not.toThrow();
});

test("an interface that the pod has not is named, with those it has", () => {
  expect(() => {
    checkBindings({ "*": "tap", net9: "masquerade" }, [document.network]);
  }).toThrow("the pod has no interface net9; it has eth0");
  // All of them at once is a word of bindings alone.
  expect(() => {
    requireInterfaces("trine.dev/interfaces", ["*"], [document.network]);
  }).toThrow("trine.dev/interfaces: the pod has no interface *; it has eth0");
});

test.each([
  ["10.1.0.2", {}, "169.254.77.1"],
  ["fd00::2", {}, "fd10:0:77::1"],
  ["10.1.0.2", { eth0: "passt" }, "169.254.77.1"],
  ["fd00::2", { eth0: "passt" }, undefined],
  ["10.1.0.2", { "*": "masquerade" }, undefined],
  ["10.1.0.2", { eth0: "macvtap" }, undefined],
] as const)("at %s, bound by %j, containers are found at %s", (address, bindings, found) => {
  const family = address.includes(":") ? ("ipv6" as const) : ("ipv4" as const);
  const network = { ...document.network, addresses: [{ family, address, prefix: 24 }] };
  expect(containersAtOf({ network, bindings })).toBe(found);
});

test("without a network nobody is found", () => {
  expect(containersAtOf({})).toBeUndefined();
});

// The guest's side of a pod that the real CNI plugins have made.
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectTaps } from "./connect-taps.ts";
import { masqueraded } from "./masquerade.ts";
import { readPodInterfaces } from "./read-pod-interfaces.ts";
import { takeMac } from "./take-mac.ts";
import {
  PORT,
  FORWARD_PORT,
  LINK_LOCAL,
  inside,
  ip,
  must,
  runInPod,
  cni,
  ipam,
  bridge,
  startGuest,
  connect,
  serveGuest,
  serveName,
  serveForward,
  dial,
  counter,
  expectCounted,
  netns,
  bridgedPod,
  connectedPod,
  makeNamespaces,
  endNamespaces,
} from "./testing/pod-rig.ts";

beforeEach(makeNamespaces);
afterEach(endNamespaces);
test("reads what the bridge plugin set", async () => {
  const { pod } = await bridgedPod();
  expect(pod).toMatchObject({
    name: "eth0",
    mtu: 1500,
    addresses: [
      { family: "ipv4", address: "10.213.0.2", prefix: 24 },
      { family: "ipv6", address: "fd00:213::2", prefix: 64 },
    ],
    routes: [
      { family: "ipv4", to: "0.0.0.0/0", via: "10.213.0.1" },
      { family: "ipv6", to: "::/0", via: "fd00:213::1" },
    ],
  });
});

test("finds no interface in a namespace without CNI", async () => {
  expect(await readPodInterfaces(runInPod)).toEqual([]);
});

test("gives the guest the pod's addresses, towards other pods, the node and back", async () => {
  await connectedPod();
  await serveGuest();
  expect(await dial("peer", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.3");
  expect(await dial("peer", "fd00:213::2", PORT)).toBe("guest saw fd00:213::3");
  expect(await dial("node", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.1");
  expect(await dial("guest", "10.213.0.3", 1)).toBe("ECONNREFUSED");
  expect(await dial("guest", "fd00:213::3", 1)).toBe("ECONNREFUSED");
  expect(await counter("netdev", "spoofed")).toBe(0);
});

test("takes another MAC, and those who knew the former one learn it", async () => {
  const { pod } = await bridgedPod();
  for (const address of ["10.213.0.2", "fd00:213::2"]) {
    expect(await dial("node", address, 1)).toBe("ECONNREFUSED");
  }
  const mac = "02:00:00:00:00:77";
  await takeMac(runInPod, pod, mac);
  await takeMac(runInPod, pod, mac);
  const [taken] = await readPodInterfaces(runInPod);
  expect(taken).toEqual({ ...pod, mac });
  await startGuest({ ...pod, mac });
  await connect({ ...pod, mac });
  await serveGuest();
  // Had nobody told them, their neighbour's entry would be good for seconds yet: frames to nobody.
  for (const address of ["10.213.0.2", "fd00:213::2"]) {
    const known = await must([...inside("node"), "ip", "neighbour", "show", "to", address]);
    expect(known).toContain(`lladdr ${mac} `);
  }
  expect(await dial("node", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.1");
  expect(await dial("peer", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.3");
  expect(await dial("peer", "fd00:213::2", PORT)).toBe("guest saw fd00:213::3");
  expect(await counter("netdev", "spoofed")).toBe(0);
});

test("carries localhost of the pod to the guest, whatever the host's settings and done twice", async () => {
  const { pod } = await bridgedPod();
  const strict = ["all/rp_filter=1", "all/arp_ignore=2", "all/arp_filter=1", "all/forwarding=1"];
  const settings = strict.map((setting) => `net/ipv4/conf/${setting}`);
  await must([...inside("pod"), "sysctl", "-qw", ...settings]);
  await startGuest(pod);
  await connect(pod);
  await connect(pod);
  await serveGuest();
  await serveForward("10.213.0.2");
  const through = `guest saw ${LINK_LOCAL}`;
  expect(await dial("pod", "127.0.0.1", PORT)).toBe(through);
  expect(await dial("pod", "127.0.0.53", 5353)).toBe(through);
  expect(await dial("pod", "::1", PORT)).toBe(through);
  // A guest that takes all of 169.254/16 for its own link asks by ARP instead.
  await ip("guest", ["route add 169.254.0.0/16 dev eth0"]);
  expect(await dial("pod", "127.0.0.1", PORT)).toBe(through);
  expect(await dial("peer", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.3");
});

test("lets the guest answer the namespace but not call it", async () => {
  await connectedPod();
  await serveForward("10.213.0.2");
  await expectCounted("inet", "refused", () =>
    dial("guest", LINK_LOCAL, FORWARD_PORT, { ms: 1000 }).then((said) => {
      expect(said).toBe("TIMEOUT");
    }),
  );
});

test("drops and counts what the guest sends under other names", async () => {
  await connectedPod();
  await ip("guest", [
    "address add 10.213.0.9/24 dev eth0",
    "address add fd00:213::9/64 dev eth0 nodad",
  ]);
  // IPv4 to a neighbour known beforehand, so that it is the packet that counts and not the ARP request.
  await ip("guest", [
    "neighbour replace 10.213.0.3 lladdr 02:00:00:00:00:03 dev eth0 nud permanent",
  ]);
  await expectCounted("netdev", "spoofed", () =>
    dial("guest", "10.213.0.3", 1, { source: "10.213.0.9", ms: 500 }),
  );
  await expectCounted("netdev", "spoofed", () =>
    dial("guest", "10.213.0.4", 1, { source: "10.213.0.9", ms: 500 }),
  );
  await expectCounted("netdev", "spoofed", () =>
    dial("guest", "fd00:213::3", 1, { source: "fd00:213::9", ms: 500 }),
  );
  await ip("guest", ["link set eth0 down", "link set eth0 address 02:00:00:00:00:99"]);
  await expectCounted("netdev", "spoofed", () => ip("guest", ["link set eth0 up"]));
});

test("lets no IPv6 out of a pod that has none", async () => {
  await cni("ADD", "pod", bridge(["10.213.0.0/24"]));
  const [pod] = await readPodInterfaces(runInPod);
  if (pod === undefined) throw new Error("no interface");
  await startGuest(pod);
  await connect(pod);
  await ip("guest", ["address add fd00:213::2/64 dev eth0 nodad"]);
  await expectCounted("netdev", "refused", () => dial("guest", "fd00:213::1", 1, { ms: 500 }));
});

test("leaves the plugin all it needs to tear down", async () => {
  const { config } = await connectedPod();
  const rules = (): Promise<string> =>
    must([...inside("node"), "sh", "-c", "iptables-save; ip6tables-save"]);
  expect(await rules()).toContain(netns("pod"));
  await cni("DEL", "pod", config);
  expect(await rules()).not.toContain(netns("pod"));
});

test("serves a pod whose subnet is routed through its gateway", async () => {
  await cni("ADD", "pod", { type: "ptp", mtu: 1400, ipam: ipam(["10.214.0.0/24"]) });
  await cni("ADD", "peer", { type: "ptp", mtu: 1400, ipam: ipam(["10.214.0.0/24"]) });
  const [pod] = await readPodInterfaces(runInPod);
  expect(pod).toMatchObject({
    mtu: 1400,
    addresses: [{ address: "10.214.0.2", prefix: 32 }],
    routes: [
      { to: "10.214.0.1/32" },
      { to: "0.0.0.0/0", via: "10.214.0.1" },
      { to: "10.214.0.0/24", via: "10.214.0.1" },
    ],
  });
  if (pod === undefined) return;
  await startGuest(pod);
  await connect(pod);
  await serveGuest();
  await serveForward("10.214.0.2");
  expect(await dial("peer", "10.214.0.2", PORT)).toBe("guest saw 10.214.0.3");
  expect(await dial("pod", "127.0.0.1", PORT)).toBe(`guest saw ${LINK_LOCAL}`);
});

/** What Calico leaves: a single address, a gateway that is nobody's on the link, the node answers for it. */
async function calico(who: "pod" | "peer", host: number): Promise<void> {
  const link = `cali${who}`;
  await ip("node", [
    `link add ${link} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns ${netns(who)}`,
    `link set ${link} up`,
  ]);
  const settings = [`ipv4/conf/${link}/proxy_arp`, "ipv4/ip_forward", "ipv6/conf/all/forwarding"];
  await must([
    ...[...inside("node"), "sysctl", "-qw"],
    ...settings.map((setting) => `net/${setting}=1`),
  ]);
  await ip(who, [
    "link set eth0 mtu 1440 up",
    `address add 10.215.0.${host}/32 dev eth0`,
    `address add fd00:215::${host}/128 dev eth0 nodad`,
    "route add 169.254.1.1 dev eth0 scope link",
    "route add default via 169.254.1.1 dev eth0",
    "route add default via fe80::ecee:eeff:feee:eeee dev eth0",
  ]);
  await ip("node", [
    `route add 10.215.0.${host} dev ${link} scope link`,
    `route add fd00:215::${host} dev ${link}`,
  ]);
}

test("serves a pod of Calico: single addresses, a gateway that is on no subnet", async () => {
  await ip("node", ["link add uplink type bridge", "link set uplink up"]);
  await ip("node", ["route add default dev uplink"]); // without one a node answers for no gateway
  await calico("pod", 2);
  await calico("peer", 3);
  const [pod] = await readPodInterfaces(runInPod);
  expect(pod).toMatchObject({
    mtu: 1440,
    addresses: [
      { address: "10.215.0.2", prefix: 32 },
      { address: "fd00:215::2", prefix: 128 },
    ],
    routes: [
      { family: "ipv4", to: "169.254.1.1/32" },
      { family: "ipv4", to: "0.0.0.0/0", via: "169.254.1.1" },
      { family: "ipv6", to: "::/0", via: "fe80::ecee:eeff:feee:eeee" },
    ],
  });
  if (pod === undefined) throw new Error("no interface");
  await startGuest(pod);
  await connect(pod);
  await serveGuest();
  await serveForward("10.215.0.2");
  expect(await dial("peer", "10.215.0.2", PORT)).toBe("guest saw 10.215.0.3");
  expect(await dial("peer", "fd00:215::2", PORT)).toBe("guest saw fd00:215::3");
  expect(await dial("guest", "10.215.0.3", 1)).toBe("ECONNREFUSED");
  expect(await dial("guest", "fd00:215::3", 1)).toBe("ECONNREFUSED");
  expect(await dial("pod", "127.0.0.1", PORT)).toBe(`guest saw ${LINK_LOCAL}`);
  expect(await counter("netdev", "spoofed")).toBe(0);
});

test("hides a guest behind the pod's addresses, which the namespace keeps", async () => {
  const { pod } = await bridgedPod();
  const link = masqueraded(pod, "tap0", 0);
  await startGuest(link.guest);
  await connectTaps(runInPod, [link], FORWARD_PORT);
  await connectTaps(runInPod, [link], FORWARD_PORT);
  await serveGuest();
  await serveName("peer", PORT);
  await serveName("pod", PORT + 1);
  await serveForward("10.0.2.2");
  // What nobody in the namespace waits for is the guest's, of both families.
  expect(await dial("peer", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.3");
  expect(await dial("peer", "fd00:213::2", PORT)).toBe("guest saw fd00:213::3");
  expect(await dial("node", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.1");
  expect(await dial("peer", "10.213.0.2", PORT + 1)).toBe("pod saw 10.213.0.3");
  expect(await dial("peer", "fd00:213::2", PORT + 1)).toBe("pod saw fd00:213::3");
  expect(await dial("guest", "10.213.0.3", PORT)).toBe("peer saw 10.213.0.2");
  expect(await dial("guest", "fd00:213::3", PORT)).toBe("peer saw fd00:213::2");
  expect(await dial("pod", "127.0.0.1", PORT)).toBe(`guest saw ${LINK_LOCAL}`);
  const refused = (): Promise<number> => counter("inet", "refused", "trine_masquerade");
  const before = await refused();
  expect(await dial("guest", "10.0.2.1", PORT + 1, { ms: 1000 })).toBe("TIMEOUT");
  await ip("guest", ["address add 10.0.2.9/24 dev eth0"]);
  const source = "10.0.2.9";
  expect(await dial("guest", "10.213.0.3", PORT, { source, ms: 1000 })).toBe("TIMEOUT");
  expect(await refused()).toBeGreaterThan(before + 1);
});

test("a hidden guest has a network of its own choice, and of the pod's ports those that are its", async () => {
  const { pod } = await bridgedPod();
  const link = masqueraded(pod, "tap0", 0, {
    ipv4: "10.11.12.0/24",
    ipv6: "fd77::/64",
    ports: [
      { protocol: "tcp", first: PORT, last: PORT },
      { protocol: "udp", first: 1, last: 65_535 },
    ],
  });
  await startGuest(link.guest);
  await connectTaps(runInPod, [link], FORWARD_PORT);
  await serveGuest();
  await serveName("guest", PORT + 1);
  await serveName("peer", PORT);
  await serveForward("10.11.12.2");
  expect(await dial("peer", "10.213.0.2", PORT)).toBe("guest saw 10.213.0.3");
  expect(await dial("peer", "fd00:213::2", PORT)).toBe("guest saw fd00:213::3");
  expect(await dial("peer", "10.213.0.2", PORT + 1)).toBe("ECONNREFUSED");
  expect(await dial("peer", "fd00:213::2", PORT + 1)).toBe("ECONNREFUSED");
  expect(await dial("guest", "10.213.0.3", PORT)).toBe("peer saw 10.213.0.2");
  // Through the pod as a router nobody comes to the guest, by its own address.
  await ip("peer", [
    "route add 10.11.12.0/24 via 10.213.0.2",
    "route add fd77::/64 via fd00:213::2",
  ]);
  for (const address of ["10.11.12.2", "fd77::2"]) {
    expect(await dial("peer", address, PORT, { ms: 1000 })).toBe("TIMEOUT");
  }
  expect(await counter("inet", "refused", "trine_masquerade")).toBeGreaterThan(1);
});

test("says what failed when the tap is missing", async () => {
  const { pod } = await bridgedPod();
  await expect(connect(pod)).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/^connect tap0 to eth0: nft -f - ended with 1: /) as string,
  });
});

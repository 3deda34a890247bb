// A pod's addresses, held by a guest and by containers beside it.
import { afterEach, beforeEach, expect, test } from "vitest";
import { LOCAL_IPV6 } from "./guest-network.ts";
import type { PodInterface } from "./pod-interface.ts";
import { readPodInterfaces } from "./read-pod-interfaces.ts";
import { shareAddress } from "./share-address.ts";
import {
  FORWARD_PORT,
  LINK_LOCAL,
  PORT,
  bridge,
  cni,
  connect,
  connectedPod,
  counter,
  dial,
  endNamespaces,
  inside,
  ip,
  ipam,
  makeNamespaces,
  must,
  runInPod,
  serveGuest,
  serveName,
  startGuest,
} from "./testing/pod-rig.ts";

const OWN = PORT + 1;

beforeEach(makeNamespaces);
afterEach(endNamespaces);

/** Twice: a second container comes. */
async function share(pod: PodInterface): Promise<void> {
  const input = { interface: pod, tap: "tap0", taps: ["tap0"], carriers: [] };
  for (let times = 0; times < 2; times++) {
    await shareAddress(runInPod, { ...input, forwardPort: FORWARD_PORT });
  }
}

const ping = (from: "guest" | "pod" | "peer" | "node", to: string): Promise<string> =>
  must([...inside(from), "busybox", "ping", "-c", "1", "-W", "5", to]);

test("a port somebody listens at is a container's, every other the guest's, of both families", async () => {
  const { pod } = await connectedPod();
  await serveGuest();
  await serveName("peer", PORT);
  await share(pod);
  await serveName("pod", OWN);
  for (const [own, peer, node] of [
    ["10.213.0.2", "10.213.0.3", "10.213.0.1"],
    ["fd00:213::2", "fd00:213::3", "fd00:213::1"],
  ] as const) {
    expect(await dial("peer", own, PORT)).toBe(`guest saw ${peer}`);
    expect(await dial("peer", own, OWN)).toBe(`pod saw ${peer}`);
    expect(await dial("node", own, PORT)).toBe(`guest saw ${node}`);
    expect(await dial("node", own, OWN)).toBe(`pod saw ${node}`);
    // Both call others under the one address, and are answered.
    expect(await dial("pod", peer, PORT)).toBe(`peer saw ${own}`);
    expect(await dial("guest", peer, PORT)).toBe(`peer saw ${own}`);
    for (const from of ["guest", "pod"] as const) await ping(from, peer);
    await ping("peer", own);
  }
  // The guest finds containers there and nothing else of the namespace.
  expect(await dial("guest", LINK_LOCAL, OWN)).toBe("pod saw 10.213.0.2");
  expect(await dial("guest", LOCAL_IPV6, OWN)).toBe("pod saw fd00:213::2");
  expect(await counter("netdev", "spoofed")).toBe(0);
});

test("the switch may send back what the pod has sent: the guest's address stays its own", async () => {
  const { pod } = await connectedPod();
  await share(pod);
  // The guest makes sure that its address is free, as it does when it boots; its frames come back to the pod.
  await must([...inside("node"), "sh", "-c", HAIRPIN]);
  await ip("guest", ["address del fd00:213::2/64 dev eth0", "link set eth0 down"]);
  await must([...inside("guest"), "sysctl", "-qw", "net/ipv6/conf/eth0/accept_dad=1"]);
  await ip("guest", [
    "link set eth0 up",
    "address add fd00:213::2/64 dev eth0",
    "route replace default via fd00:213::1 dev eth0 onlink",
  ]);
  const settled =
    "until ip -6 -o addr show dev eth0 | grep -v tentative | grep -q fd00:213::2; do :; done";
  await must([...inside("guest"), "timeout", "10", "sh", "-c", settled]);
  expect(await must([...inside("guest"), "ip", "-6", "addr", "show", "dev", "eth0"])).not.toContain(
    "dadfailed",
  );
  await serveGuest();
  expect(await dial("peer", "fd00:213::2", PORT)).toBe("guest saw fd00:213::3");
});

/** Of the pod's port, which was made first. */
const HAIRPIN = `for port in /sys/class/net/cni0/brif/*; do echo 1 >$port/hairpin_mode; done`;

test("a pod of IPv6 alone is shared too", async () => {
  const ipv6 = { ...ipam(["fd00:213::/64"]), routes: [{ dst: "::/0" }] };
  for (const who of ["pod", "peer"] as const) await cni("ADD", who, { ...bridge([]), ipam: ipv6 });
  const [pod] = await readPodInterfaces(runInPod);
  if (pod === undefined) throw new Error("no interface");
  await startGuest(pod);
  await connect(pod);
  await serveGuest();
  await share(pod);
  await serveName("pod", OWN);
  expect(await dial("peer", "fd00:213::2", PORT)).toBe("guest saw fd00:213::3");
  expect(await dial("peer", "fd00:213::2", OWN)).toBe("pod saw fd00:213::3");
  expect(await dial("pod", "fd00:213::2", PORT, { source: LOCAL_IPV6 })).toBe(
    `guest saw ${LOCAL_IPV6}`,
  );
  expect(await dial("guest", LOCAL_IPV6, OWN)).toBe("pod saw fd00:213::2");
});

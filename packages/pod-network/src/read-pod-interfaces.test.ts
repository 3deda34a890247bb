import { expect, test } from "vitest";
import type { PodInterface } from "./pod-interface.ts";
import { readPodInterfaces } from "./read-pod-interfaces.ts";

const LO = { ifname: "lo", link_type: "loopback", address: "00:00:00:00:00:00", mtu: 65536 };
const ETH0 = { ifname: "eth0", link_type: "ether", address: "1E:73:9c:fc:b3:40", mtu: 1500 };

const inet = (local: string, prefixlen: number, scope = "global"): object => ({
  family: local.includes(":") ? "inet6" : "inet",
  local,
  prefixlen,
  scope,
});

async function readAll(
  links: object[],
  routes: object[] = [],
  ours?: string[],
): Promise<PodInterface[]> {
  const stdout = `${JSON.stringify(links)}\n${JSON.stringify(routes)}\n`;
  return readPodInterfaces(() => Promise.resolve({ exitCode: 0, stdout, stderr: "" }), ours);
}

const read = async (links: object[], routes: object[]): Promise<PodInterface | undefined> =>
  (await readAll(links, routes))[0];

const connected = (dst: string): object => ({
  dst,
  dev: "eth0",
  protocol: "kernel",
  scope: "link",
});
const viaEth0 = (dst: string, gateway: string, more = {}): object => ({
  dst,
  gateway,
  dev: "eth0",
  ...more,
});

test("reads a bridged pod and leaves out what the guest's kernel makes by itself", async () => {
  const links = [
    { ...LO, addr_info: [inet("127.0.0.1", 8, "host")] },
    { ...ETH0, addr_info: [inet("10.1.0.2", 16), inet("fe80::1", 64, "link")] },
  ];
  const routes = [
    viaEth0("default", "10.1.0.1"),
    connected("10.1.0.0/16"),
    { type: "local", dst: "10.1.0.2", dev: "eth0", table: "local", protocol: "kernel" },
    { dst: "fe80::/64", dev: "eth0", protocol: "kernel", pref: "medium" },
    { type: "multicast", dst: "ff00::/8", dev: "eth0", table: "local", pref: "medium" },
    { type: "unreachable", dst: "10.9.0.0/16", dev: "eth0" },
    viaEth0("10.8.0.0/16", "10.1.0.7"),
    { dst: "10.7.0.0/16", dev: "other", gateway: "10.1.0.1" },
  ];
  expect(await read(links, routes)).toEqual({
    name: "eth0",
    mac: "1e:73:9c:fc:b3:40",
    mtu: 1500,
    addresses: [{ family: "ipv4", address: "10.1.0.2", prefix: 16 }],
    routes: [
      { family: "ipv4", to: "0.0.0.0/0", via: "10.1.0.1" },
      { family: "ipv4", to: "10.8.0.0/16", via: "10.1.0.7" },
    ],
  });
});

test("reads Calico's on-link gateway", async () => {
  const routes = [
    viaEth0("default", "169.254.1.1"),
    { dst: "169.254.1.1", dev: "eth0", scope: "link" },
  ];
  expect(await read([{ ...ETH0, addr_info: [inet("10.1.0.2", 32)] }], routes)).toMatchObject({
    addresses: [{ prefix: 32 }],
    routes: [
      { family: "ipv4", to: "169.254.1.1/32" },
      { family: "ipv4", to: "0.0.0.0/0", via: "169.254.1.1" },
    ],
  });
});

test("takes a subnet that is not on the link for a single address, and the route's MTU", async () => {
  const routes = [
    viaEth0("default", "10.0.1.24", { metrics: [{ mtu: 1450 }] }),
    { dst: "10.0.1.24", dev: "eth0", scope: "link" },
    viaEth0("10.0.0.0/16", "10.0.1.24"),
  ];
  expect(await read([{ ...ETH0, addr_info: [inet("10.0.0.2", 16)] }], routes)).toMatchObject({
    mtu: 1450,
    addresses: [{ address: "10.0.0.2", prefix: 32 }],
    routes: [{ to: "10.0.1.24/32" }, { to: "0.0.0.0/0" }, { to: "10.0.0.0/16" }],
  });
});

test("reads a pod with IPv6 alone", async () => {
  const routes = [
    { dst: "fd00::/64", dev: "eth0", protocol: "kernel", pref: "medium" },
    { dst: "default", dev: "eth0", gateway: "fe80::1", pref: "medium" },
    { dst: "default", dev: "eth0", pref: "medium", metric: 2048 },
  ];
  expect(await read([{ ...ETH0, addr_info: [inet("fd00::2", 64)] }], routes)).toMatchObject({
    addresses: [{ family: "ipv6", address: "fd00::2", prefix: 64 }],
    routes: [{ family: "ipv6", to: "::/0", via: "fe80::1" }],
  });
});

test("takes the first next hop of a multipath route", async () => {
  const nexthops = [
    { gateway: "10.1.0.1", dev: "eth0" },
    { gateway: "10.1.0.9", dev: "eth0" },
  ];
  const links = [{ ...ETH0, addr_info: [inet("10.1.0.2", 16)] }];
  const routes = [connected("10.1.0.0/16"), { dst: "default", nexthops }];
  expect(await read(links, routes)).toMatchObject({ routes: [{ via: "10.1.0.1" }] });
});

test("prefers eth0, else takes the first with a global address", async () => {
  const net1 = { ...ETH0, ifname: "net1", addr_info: [inet("10.2.0.2", 16)] };
  const eth0 = { ...ETH0, addr_info: [inet("10.1.0.2", 16)] };
  expect(await read([net1, eth0], [])).toMatchObject({ name: "eth0" });
  expect(await read([{ ...ETH0, addr_info: [] }, net1], [])).toMatchObject({
    name: "net1",
    routes: [],
  });
  expect(await read([LO], [])).toBeUndefined();
});

test("reads every interface that CNI made, the primary one first, and nobody else's", async () => {
  const up = { flags: ["BROADCAST", "UP", "LOWER_UP"] };
  const net1 = { ...ETH0, ...up, ifname: "net1", address: "02:00:00:00:00:02" };
  const links = [
    LO,
    { ...ETH0, ...up, ifname: "net2", addr_info: [inet("fe80::1", 64, "link")] },
    { ...net1, addr_info: [inet("10.2.0.2", 24)] },
    { ...ETH0, ...up, ifname: "tap0" },
    { ...ETH0, ...up, ifname: "port1", master: "br0" },
    { ...ETH0, ifname: "gretap0", flags: ["BROADCAST"] },
    { ifname: "tunl0", link_type: "ipip", address: "0.0.0.0", mtu: 1480, flags: ["NOARP"] },
    { ...ETH0, ...up, addr_info: [inet("10.1.0.2", 16)] },
  ];
  const routes = [
    viaEth0("default", "10.1.0.1"),
    { dst: "default", dev: "net1", gateway: "10.2.0.1", metric: 200 },
    { dst: "10.2.0.0/24", dev: "net1", protocol: "kernel" },
  ];
  const found = await readAll(links, routes, ["tap0"]);
  expect(found.map(({ name }) => name)).toEqual(["eth0", "net2", "net1"]);
  expect(found[1]).toMatchObject({ addresses: [], routes: [] });
  expect(found[2]).toMatchObject({
    addresses: [{ address: "10.2.0.2", prefix: 24 }],
    routes: [{ family: "ipv4", to: "0.0.0.0/0", via: "10.2.0.1", metric: 200 }],
  });
});

test("says how many interfaces a guest can have", async () => {
  const links = Array.from({ length: 9 }, (_, i) => ({
    ...ETH0,
    ifname: `eth${i}`,
    addr_info: [inet(`10.1.${i}.2`, 24)],
  }));
  await expect(readAll(links)).rejects.toMatchObject({
    kind: "unimplemented",
    message: "the pod has 9 interfaces; a guest can be given 8",
  });
});

test.each([
  [{ link_type: "none" }, [], /needs an Ethernet interface/],
  [{ ifname: 'eth0"; drop' }, [], /needs an Ethernet interface/],
  [{}, [{ dst: "default", dev: "eth0", via: { family: "inet6", host: "fe80::1" } }], /other IP/],
  [{}, Array.from({ length: 65 }, (_, i) => viaEth0(`10.9.${i}.0/24`, "10.1.0.1")), /65 routes/],
])("refuses what a guest cannot be given (%#)", async (link, routes, message) => {
  const links = [{ ...ETH0, addr_info: [inet("10.1.0.2", 16)], ...link }];
  await expect(read(links, routes)).rejects.toMatchObject({
    kind: "unimplemented",
    message: expect.stringMatching(message) as string,
  });
});

test.each(["", "[]\n", "[]\n[{\n", "null\nnull\nnull\n"])("refuses output %j", async (stdout) => {
  const answering = () => Promise.resolve({ exitCode: 0, stdout, stderr: "" });
  await expect(readPodInterfaces(answering)).rejects.toMatchObject({ kind: "internal" });
});

test("says what ip said when it fails", async () => {
  const failing = () => Promise.resolve({ exitCode: 1, stdout: "", stderr: "no such thing\n" });
  await expect(readPodInterfaces(failing)).rejects.toMatchObject({
    kind: "unavailable",
    message: "read the pod's interfaces: ip -j -batch - ended with 1: no such thing",
  });
});

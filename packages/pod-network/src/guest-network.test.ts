import { expect, test } from "vitest";
import { dhcpOffer, guestNetwork } from "./guest-network.ts";
import type { PodInterface } from "./pod-interface.ts";
import { parseResolvConf } from "./resolv-conf.ts";

const CALICO: PodInterface = {
  name: "eth0",
  mac: "02:00:00:00:00:01",
  mtu: 1450,
  addresses: [
    { family: "ipv4", address: "10.1.0.2", prefix: 32 },
    { family: "ipv6", address: "fd00::2", prefix: 128 },
  ],
  routes: [
    { family: "ipv4", to: "169.254.1.1/32" },
    { family: "ipv4", to: "0.0.0.0/0", via: "169.254.1.1" },
    { family: "ipv6", to: "::/0", via: "fe80::1" },
  ],
};
const DNS = { nameservers: ["10.96.0.10", "fd00::a"], search: ["svc.cluster.local"] };

test("gives cloud-init the pod's network as it is", () => {
  expect(guestNetwork([CALICO], DNS)).toEqual({
    interfaces: [
      {
        name: "eth0",
        mac: "02:00:00:00:00:01",
        mtu: 1450,
        addresses: ["10.1.0.2/32", "fd00::2/128"],
        routes: [
          { to: "169.254.1.1/32" },
          { to: "0.0.0.0/0", via: "169.254.1.1" },
          { to: "::/0", via: "fe80::1" },
        ],
      },
    ],
    nameservers: ["10.96.0.10", "fd00::a"],
    search: ["svc.cluster.local"],
  });
});

test("offers the IPv4 part by DHCP, for ever", () => {
  expect(dhcpOffer(CALICO, 0, DNS)).toEqual({
    clientMac: "02:00:00:00:00:01",
    address: "10.1.0.2",
    prefix: 32,
    server: "169.254.77.1",
    router: "169.254.1.1",
    mtu: 1450,
    dns: ["10.96.0.10"],
    search: ["svc.cluster.local"],
    routes: [
      { destination: "169.254.77.1/32", via: "" },
      { destination: "169.254.1.1/32", via: "" },
    ],
    leaseSeconds: 4294967295,
  });
});

test("tells a guest without a default route where port-forward comes from", () => {
  const isolated = { ...CALICO, routes: [] };
  expect(guestNetwork([isolated], DNS).interfaces[0]?.routes).toEqual([{ to: "169.254.77.1/32" }]);
  expect(dhcpOffer(isolated, 0, DNS)?.router).toBe("");
});

test("gives each interface its own routes, and DHCP from its own tap", () => {
  const net1: PodInterface = {
    name: "net1",
    mac: "02:00:00:00:00:02",
    mtu: 1500,
    addresses: [{ family: "ipv4", address: "10.2.0.2", prefix: 24 }],
    routes: [{ family: "ipv4", to: "10.3.0.0/16", via: "10.2.0.1", metric: 50 }],
  };
  expect(guestNetwork([CALICO, net1], DNS).interfaces[1]).toEqual({
    name: "net1",
    mac: "02:00:00:00:00:02",
    mtu: 1500,
    addresses: ["10.2.0.2/24"],
    routes: [{ to: "10.3.0.0/16", via: "10.2.0.1", metric: 50 }],
  });
  expect(dhcpOffer(net1, 1, DNS)).toMatchObject({
    server: "169.254.77.2",
    router: "",
    routes: [
      { destination: "169.254.77.2/32", via: "" },
      { destination: "10.3.0.0/16", via: "10.2.0.1" },
    ],
  });
  const other = {
    ...net1,
    routes: [{ family: "ipv4", to: "0.0.0.0/0", via: "10.2.0.1" } as const],
  };
  // Answers to port-forward would leave by the other default route.
  expect(guestNetwork([CALICO, other], DNS).interfaces[0]?.routes).toContainEqual({
    to: "169.254.77.1/32",
  });
});

test("offers no DHCP to a pod without IPv4", () => {
  const addresses = CALICO.addresses.slice(1);
  expect(dhcpOffer({ ...CALICO, addresses }, 0, DNS)).toBeUndefined();
});

test("reads a cluster's resolv.conf", () => {
  const text =
    "# made\nsearch a.svc.cluster.local  svc.cluster.local. example.com\nnameserver 10.96.0.10\noptions ndots:5\n";
  expect(parseResolvConf(text)).toEqual({
    nameservers: ["10.96.0.10"],
    search: ["a.svc.cluster.local", "svc.cluster.local", "example.com"],
  });
});

test("leaves out what means nothing in a guest", () => {
  const text =
    "nameserver 127.0.0.53\nnameserver ::1\nnameserver\nnameserver x\nnameserver 10.0.0.1\nnameserver 10.0.0.1\r\ndomain b.example\nsearch\nsearch $(x) -a ok.example";
  expect(parseResolvConf(text)).toEqual({ nameservers: ["10.0.0.1"], search: ["ok.example"] });
  expect(parseResolvConf("search a\ndomain b.example c")).toEqual({
    nameservers: [],
    search: ["b.example"],
  });
});

test("reads a bounded part of an absurd one and refuses a huge one", () => {
  const many = Array.from({ length: 99 }, (_, i) => i);
  const text = `${many.map((i) => `nameserver 10.0.0.${i}`).join("\n")}\nsearch ${many.map((i) => `d${i}`).join(" ")}`;
  const { nameservers, search } = parseResolvConf(text);
  expect([nameservers.length, search.length]).toEqual([3, 32]);
  expect(() => parseResolvConf("#".repeat(65537))).toThrow("longer than 65536");
});

import { expect, test } from "vitest";
import { guestNetwork } from "./guest-network.ts";
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
  expect(guestNetwork(CALICO, DNS).cloudInit).toEqual({
    interfaces: [
      {
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
  expect(guestNetwork(CALICO, DNS).dhcp).toEqual({
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
  expect(guestNetwork(isolated, DNS).cloudInit.interfaces[0]?.routes).toEqual([
    { to: "169.254.77.1/32" },
  ]);
  expect(guestNetwork(isolated, DNS).dhcp?.router).toBe("");
});

test("offers no DHCP to a pod without IPv4", () => {
  const addresses = CALICO.addresses.slice(1);
  expect(guestNetwork({ ...CALICO, addresses }, DNS).dhcp).toBeUndefined();
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

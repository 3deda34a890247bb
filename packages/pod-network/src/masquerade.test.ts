import { expect, test } from "vitest";
import { connectTaps } from "./connect-taps.ts";
import { networkOf } from "./ip-bits.ts";
import { masqueradeRules, masqueraded, requireFreeNetworks } from "./masquerade.ts";
import type { PodInterface } from "./pod-interface.ts";

const NET1: PodInterface = {
  name: "net1",
  mac: "02:00:00:00:00:02",
  mtu: 1400,
  addresses: [
    { family: "ipv4", address: "10.1.0.2", prefix: 16 },
    { family: "ipv6", address: "fd00:1::2", prefix: 64 },
  ],
  routes: [
    { family: "ipv4", to: "10.9.0.0/16", via: "10.1.0.7", metric: 50 },
    { family: "ipv6", to: "::/0", via: "fe80::1" },
  ],
};

test("the guest has addresses of its own, and what the pod reaches through the gateway", () => {
  const { guest, gateways } = masqueraded(NET1, "tap1", 1);
  expect(guest).toMatchObject({
    name: "net1",
    mac: "02:00:00:00:00:02",
    mtu: 1400,
    addresses: [
      { family: "ipv4", address: "10.0.3.2", prefix: 24 },
      { family: "ipv6", address: "fd10:0:3::2", prefix: 120 },
    ],
    routes: [
      { family: "ipv4", to: "10.1.0.0/16", via: "10.0.3.1" },
      { family: "ipv4", to: "10.9.0.0/16", via: "10.0.3.1", metric: 50 },
      { family: "ipv6", to: "::/0", via: "fd10:0:3::1" },
    ],
  });
  expect(gateways.map(({ address }) => address)).toEqual(["10.0.3.1", "fd10:0:3::1"]);
});

test.each([
  ["10.11.12.0/24", "fd77::/64", ["10.11.12.1", "fd77::1"], ["10.11.12.2", "fd77::2"]],
  ["10.10.10.9/30", "fd10::1:0/126", ["10.10.10.9", "fd10::1:1"], ["10.10.10.10", "fd10::1:2"]],
  ["10.255.255.0/16", "::/8", ["10.255.0.1", "::1"], ["10.255.0.2", "::2"]],
])("of the networks %s and %s the gateway has the first address", (ipv4, ipv6, first, second) => {
  const { gateways, guest } = masqueraded(NET1, "tap0", 0, { ipv4, ipv6 });
  expect(gateways.map(({ address }) => address)).toEqual(first);
  expect(guest.addresses.map(({ address }) => address)).toEqual(second);
  expect(guest.addresses.map(({ prefix }) => prefix)).toEqual(
    [ipv4, ipv6].map((network) => Number(network.split("/")[1])),
  );
});

test.each([
  [undefined, [""]],
  [[], []],
  [
    [
      { protocol: "udp", first: 53, last: 53 },
      { protocol: "tcp", first: 80, last: 80 },
      { protocol: "tcp", first: 8000, last: 8010 },
    ],
    ["tcp dport 80-80 ", "tcp dport 8000-8010 ", "udp dport 53-53 "],
  ],
] as const)("of the pod's ports %j are the guest's", (ports, matches) => {
  const rules = masqueradeRules([masqueraded(NET1, "tap0", 0, ports && { ports })]);
  const dnat = rules.filter((rule) => rule.includes("dnat ip")).map((rule) => rule.trim());
  expect(dnat).toEqual([
    ...matches.map((m) => `iifname "net1" ip daddr { 10.1.0.2 } ${m}dnat ip to 10.0.2.2`),
    ...matches.map((m) => `iifname "net1" ip6 daddr { fd00:1::2 } ${m}dnat ip6 to fd10:0:2::2`),
  ]);
});

test.each([
  [{ ipv4: "169.254.0.0/16" }, /overlaps 169.254.77.0\/24 of the pod's namespace itself/],
  [{ ipv4: "10.0.0.0/20" }, /overlaps 10.0.3.0\/24 of what is behind net2/],
  [{ ipv6: "fd10::/32" }, /overlaps .* of the pod's namespace itself/],
  [{ ipv4: "0.0.0.0/1" }, /has 0.0.0.0\/1, which overlaps 0.0.0.0\/8 of hosts/],
  [{ ipv4: "0.1.2.0/24" }, /overlaps 0.0.0.0\/8 of hosts without an address/],
  [{ ipv4: "127.0.0.0/8" }, /overlaps 127.0.0.0\/8 of each host's loopback/],
  [{ ipv4: "169.254.1.0/24" }, /overlaps 169.254.0.0\/16 of each link alone/],
  [{ ipv4: "239.0.0.0/24" }, /overlaps 224.0.0.0\/4 of multicast/],
  [{ ipv4: "255.255.255.0/24" }, /overlaps 255.255.255.255\/32 of broadcast/],
  [{ ipv6: "::/64" }, /overlaps .*:0000\/127 of each host's loopback/],
  [{ ipv6: "::ffff:0:0/112" }, /overlaps .*\/96 of IPv4 within IPv6/],
  [{ ipv6: "fe80::/64" }, /overlaps fe80:.*\/10 of each link alone/],
  [{ ipv6: "ff05::/64" }, /overlaps ff00:.*\/8 of multicast/],
  [{ ipv4: "10.77.0.0/24", ipv6: "fd77::/64" }, undefined],
  [{ ipv4: "128.0.0.0/24", ipv6: "2001:db8::/64" }, undefined],
])("a network of %j beside others", (of, says) => {
  const links = [
    masqueraded(NET1, "tap0", 0, of),
    masqueraded({ ...NET1, name: "net2" }, "tap1", 1),
  ];
  const check = () => {
    requireFreeNetworks(links, []);
  };
  if (says === undefined) expect(check).not.toThrow();
  else expect(check).toThrow(says);
});

test("a family that the pod has not is not translated", () => {
  const pod = { ...NET1, addresses: NET1.addresses.slice(0, 1) };
  const rules = masqueradeRules([masqueraded(pod, "tap0", 0)]).join("\n");
  expect(rules).toContain('iifname "net1" ip daddr { 10.1.0.2 } dnat ip to 10.0.2.2');
  expect(rules).not.toContain("ip6 ");
  expect(masqueradeRules([])).toEqual([]);
});

test("what comes in by one interface of the pod leaves by its guest's tap alone", () => {
  const rules = masqueradeRules([
    masqueraded({ ...NET1, name: "eth0" }, "tap0", 0),
    masqueraded(NET1, "tap1", 1),
  ]).join("\n");
  for (const [name, tap] of [
    ["eth0", "tap0"],
    ["net1", "tap1"],
  ] as const) {
    expect(rules).toContain(`iifname "${name}" oifname != "${tap}" counter name "refused" drop`);
  }
});

test.each([
  ["1\n", true],
  ["2\n", false],
  ["0\n", false],
  ["", false],
])("accept_ra %j before the namespace forwards", async (value, isChanged) => {
  const seen: string[] = [];
  await connectTaps(
    (argv) => {
      seen.push(argv.join(" "));
      return Promise.resolve({
        exitCode: 0,
        stdout: argv.includes("-en") ? value : "",
        stderr: "",
      });
    },
    [masqueraded(NET1, "tap0", 0)],
  );
  const at = seen.indexOf("sysctl -eqw net/ipv6/conf/net1/accept_ra=2");
  expect(at >= 0).toBe(isChanged);
  expect(at).toBeLessThan(seen.findIndex((line) => line.includes("all/forwarding=1")));
});

test("an interface without an address is refused by name", () => {
  expect(() => masqueraded({ ...NET1, addresses: [] }, "tap0", 0)).toThrow(/net1 has no address/);
});

test.each([
  ["ipv4", "10.0.0.0/8", /overlaps 10\.0\.0\.0\/8 of the pod's net1: bind net1 as tap/],
  ["ipv4", "10.0.2.77/32", /overlaps 10\.0\.2\.77\/32/],
  ["ipv6", "fd10::/32", /has fd10:0000:0002:.*\/120, which overlaps fd10:/],
  ["ipv4", "10.0.3.0/24", undefined],
  ["ipv4", "0.0.0.0/0", undefined],
  ["ipv6", "::/0", undefined],
] as const)("%s: a route to %s and the guest's network", (family, to, says) => {
  const pod = { ...NET1, routes: [{ family, to, via: "10.1.0.7" }] };
  const check = () => {
    requireFreeNetworks([masqueraded(pod, "tap0", 0)], [pod]);
  };
  if (says === undefined) expect(check).not.toThrow();
  else expect(check).toThrow(says);
});

test("the network of an address, of both families", () => {
  const one = (family: "ipv4" | "ipv6", address: string, prefix: number): string =>
    networkOf({ family, address, prefix });
  expect(one("ipv4", "10.1.77.2", 20)).toBe("10.1.64.0/20");
  expect(one("ipv4", "10.1.77.2", 0)).toBe("0.0.0.0/0");
  expect(one("ipv6", "fd00:1::2:3", 64)).toBe("fd00:0001:0000:0000:0000:0000:0000:0000/64");
});

import { expect, test } from "vitest";
import { connectTaps } from "./connect-taps.ts";
import { forwardingRules } from "./forwarding-rules.ts";
import type { PodInterface } from "./pod-interface.ts";

const V4: PodInterface = {
  name: "eth0",
  mac: "02:00:00:00:00:01",
  mtu: 1500,
  addresses: [{ family: "ipv4", address: "10.1.0.2", prefix: 16 }],
  routes: [],
};
const DUAL: PodInterface = {
  ...V4,
  addresses: [...V4.addresses, { family: "ipv6", address: "fd00:1::2", prefix: 64 }],
};
const NET1: PodInterface = {
  name: "net1",
  mac: "02:00:00:00:00:02",
  mtu: 1400,
  addresses: [{ family: "ipv4", address: "10.2.0.2", prefix: 24 }],
  routes: [],
};
/** Without address management: frames of any kind. */
const OPAQUE: PodInterface = { ...NET1, name: "net2", mac: "02:00:00:00:00:03", addresses: [] };
const input = {
  links: [{ interface: V4, tap: "tap0", linkLocal: "169.254.77.1" }],
};
const rulesOf = (pod: PodInterface): string =>
  forwardingRules({ links: [{ interface: pod, tap: "tap0", linkLocal: "169.254.77.1" }] });

async function commandsOf(...pods: PodInterface[]): Promise<string[]> {
  const seen: string[] = [];
  await connectTaps(
    (argv, stdin = "") => {
      seen.push(`${argv.join(" ")}\n${argv[0] === "nft" ? "" : stdin}`);
      return Promise.resolve({ exitCode: 0, stdout: "", stderr: "" });
    },
    pods.map((pod, index) => ({ interface: pod, tap: `tap${index}` })),
  );
  return seen;
}

test("installs the rules before the pod's address leaves the namespace", async () => {
  const [rules, settings, addresses] = await commandsOf(V4);
  expect(rules).toBe("nft -f -\n");
  expect(settings).toContain("net/ipv6/conf/eth0/disable_ipv6=1");
  expect(addresses?.split("\n").slice(1, -1)).toEqual([
    "link set dev tap0 up",
    "route flush table local exact 10.1.0.2",
    "route flush dev eth0",
    "address replace 169.254.77.1/32 dev tap0 scope link",
    "route replace 10.1.0.2/32 dev tap0 src 169.254.77.1",
    "neighbour replace 10.1.0.2 lladdr 02:00:00:00:00:01 dev tap0 nud permanent",
  ]);
});

test("sets nothing where passt carries the pod's only interface", async () => {
  expect(await commandsOf()).toEqual(["nft -f -\n"]);
});

test("keeps IPv6 addresses listed where there are some", async () => {
  const [, settings, , addresses] = await commandsOf(DUAL);
  expect(settings).not.toContain("eth0/disable_ipv6");
  expect(addresses).toContain("route flush table local exact fd00:1::2\n");
});

test("joins each interface to a tap of its own, with an address of the namespace's", async () => {
  const [, , addresses] = await commandsOf(V4, NET1, OPAQUE);
  for (const line of [
    "route flush dev net1",
    "address replace 169.254.77.2/32 dev tap1 scope link",
    "route replace 10.2.0.2/32 dev tap1 src 169.254.77.2",
    "address replace 169.254.77.3/32 dev tap2 scope link",
  ]) {
    expect(addresses?.split("\n")).toContain(line);
  }
  const links = [V4, NET1].map((pod, i) => ({
    interface: pod,
    tap: `tap${i}`,
    linkLocal: `169.254.77.${i + 1}`,
  }));
  const rules = forwardingRules({ links });
  expect(rules).toContain('device "net1" priority 0; policy drop;\n    fwd to "tap1"');
  expect(rules).toContain('ip saddr { 10.2.0.2 } fwd to "net1"');
  expect(rules).toContain('iifname { "tap0", "tap1" } counter name "refused" drop');
});

test("an interface without addresses carries every frame under its own MAC", () => {
  const rules = rulesOf(OPAQUE);
  expect(rules).toContain(
    'ether saddr != 02:00:00:00:00:03 counter name "spoofed" drop\n    fwd to "net2"\n',
  );
  expect(rules).not.toContain("ether type");
});

test("replaces its own rules in one transaction", () => {
  const rules = forwardingRules(input);
  for (const table of ["table netdev trine", "table inet trine"]) {
    expect(rules).toContain(`${table}\ndelete ${table}\n${table} {`);
  }
});

test("redirects localhost only to a forwarder there is", () => {
  expect(forwardingRules(input)).not.toContain("redirect");
  expect(forwardingRules({ ...input, forwardPort: 4000 })).toContain(
    'oifname "lo" ip6 daddr ::1 tcp dport != 4000 redirect to :4000',
  );
});

test("lets a pod without a version of IP send none of it", () => {
  const chainOf = (rules: string, name: string): string =>
    new RegExp(`chain ${name} \\{([^]*?)\\n {2}\\}`).exec(rules)?.[1] ?? "";
  expect(chainOf(forwardingRules(input), "from_guest0_ip6").trim()).toBe(
    'counter name "refused" drop',
  );
  const [v6] = DUAL.addresses.slice(1);
  const rules = rulesOf({ ...V4, addresses: v6 === undefined ? [] : [v6] });
  expect(chainOf(rules, "from_guest0_ip")).not.toContain("fwd");
  expect(chainOf(rules, "from_guest0_arp")).not.toContain("fwd");
});

test.each([
  ["fd00:1::2", "0xfd000001000000000000000000000002"],
  ["::1", "0x00000000000000000000000000000001"],
  ["fd00::", "0xfd000000000000000000000000000000"],
  ["1:2:3:4:5:6:7:8", "0x00010002000300040005000600070008"],
  ["64:ff9b::10.1.0.2", "0x0064ff9b00000000000000000a010002"],
])("compares neighbour advertisements with %s as a number", (address, number) => {
  const addresses = [{ family: "ipv6", address, prefix: 64 } as const];
  const rules = rulesOf({ ...V4, addresses });
  expect(rules).toContain(`@th,64,128 != { ${number} }`);
});

test("stops at the step that fails and says which", async () => {
  const failing = (argv: readonly string[]) =>
    Promise.resolve({ exitCode: argv[0] === "sysctl" ? 255 : 0, stdout: "", stderr: "denied" });
  await expect(connectTaps(failing, [{ interface: V4, tap: "tap0" }])).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(
      /^connect tap0 to eth0: sysctl .* ended with 255: denied$/,
    ) as string,
  });
});

test("takes no name that could end a command", async () => {
  const run = () => Promise.resolve({ exitCode: 0, stdout: "", stderr: "" });
  await expect(connectTaps(run, [{ interface: V4, tap: 'x"; }' }])).rejects.toMatchObject({
    kind: "internal",
  });
});

import { expect, test } from "vitest";
import type { PodInterface } from "./pod-interface.ts";
import { shareAddress } from "./share-address.ts";
import { sharingRules } from "./sharing-rules.ts";

const POD: PodInterface = {
  name: "eth0",
  mac: "02:00:00:00:00:01",
  mtu: 1500,
  addresses: [
    { family: "ipv4", address: "10.9.3.77", prefix: 20 },
    { family: "ipv6", address: "fd00::2", prefix: 64 },
  ],
  routes: [
    { family: "ipv4", to: "169.254.1.1/32" },
    { family: "ipv4", to: "0.0.0.0/0", via: "169.254.1.1" },
    { family: "ipv6", to: "::/0", via: "fd00::1" },
  ],
};
const FRESH = [
  { priority: 0, src: "all", table: "local" },
  { priority: 32766, src: "all", table: "main" },
];
const DONE = [
  { priority: 0, src: "all", fwmark: "0x7472", table: "29810" },
  { priority: 0, src: "169.254.77.1", dst: "10.9.3.77", table: "29810" },
  { priority: 0, src: "fd10:0:77::1", dst: "fd00::2", table: "29810" },
  { priority: 1, src: "all", table: "local" },
];

async function runsOf(
  pod: PodInterface,
  rules: object[],
): Promise<{ argv: string; stdin: string }[]> {
  const runs: { argv: string; stdin: string }[] = [];
  await shareAddress(
    (argv, stdin = "") => {
      runs.push({ argv: argv.join(" "), stdin });
      const stdout = argv.includes("show") ? JSON.stringify(rules) : "";
      return Promise.resolve({ exitCode: 0, stdout, stderr: "" });
    },
    { interface: pod, tap: "tap0", taps: ["tap0"], carriers: [], forwardPort: 4000 },
  );
  return runs;
}

test("the namespace has its address and routes again, and the machine's in a table of its own", async () => {
  const runs = await runsOf(POD, FRESH);
  expect(
    runs
      .find(({ argv }) => argv === "ip -4 -batch -")
      ?.stdin.trim()
      .split("\n"),
  ).toEqual([
    "route replace table 29810 10.9.3.77/32 dev tap0 src 169.254.77.1",
    "route replace table local local 10.9.3.77 dev eth0 scope host src 10.9.3.77",
    "route flush table main exact 10.9.3.77/32 dev tap0",
    "route replace 10.9.0.0/20 dev eth0 scope link src 10.9.3.77",
    "route replace 169.254.1.1/32 dev eth0 scope link",
    "route replace 0.0.0.0/0 via 169.254.1.1 dev eth0 onlink",
  ]);
});

test("so it has for IPv6, where the guest is not asked who it is, and the tap says nothing of its own", async () => {
  const runs = await runsOf(POD, FRESH);
  const lines = runs.find(({ argv }) => argv === "ip -6 -batch -")?.stdin;
  expect(lines?.trim().split("\n")).toEqual([
    "address replace fd10:0:77::1/128 dev tap0 nodad",
    "neighbour replace fd00::2 lladdr 02:00:00:00:00:01 dev tap0 nud permanent",
    "route replace table 29810 fd00::2/128 dev tap0 src fd10:0:77::1",
    "route replace table local local fd00::2 dev eth0",
    "route flush table main exact fd00::2/128 dev tap0",
    "route replace fd00:0000:0000:0000:0000:0000:0000:0000/64 dev eth0 src fd00::2",
    "route replace ::/0 via fd00::1 dev eth0 onlink",
  ]);
  const settings = runs.map(({ argv }) => argv).filter((argv) => argv.startsWith("sysctl"));
  expect(settings.slice(1)).toEqual([
    "sysctl -eqw net/ipv6/conf/tap0/addr_gen_mode=1 net/ipv6/conf/tap0/accept_ra=0",
    "sysctl -eqw net/ipv6/conf/tap0/disable_ipv6=0 net/ipv6/conf/all/forwarding=1",
  ]);
});

test("the local table's rule goes behind the others, and only once", async () => {
  const rules = (runs: { argv: string }[]): string[] =>
    runs.map(({ argv }) => argv).filter((argv) => /^ip -[46] rule/.test(argv));
  expect(rules(await runsOf(POD, FRESH))).toEqual(
    [
      ["-4", "169.254.77.1", "10.9.3.77"],
      ["-6", "fd10:0:77::1", "fd00::2"],
    ].flatMap(([family, local, own]) => [
      `ip ${family} rule add pref 1 lookup local`,
      `ip ${family} rule add pref 0 fwmark 29810 lookup 29810`,
      `ip ${family} rule add pref 0 from ${local} to ${own} lookup 29810`,
      `ip ${family} rule del pref 0 lookup local`,
    ]),
  );
  expect(rules(await runsOf(POD, DONE))).toEqual([]);
});

test("of two addresses of a family each has its rule, also where only one was there", async () => {
  const second = { family: "ipv4", address: "10.9.3.78", prefix: 20 } as const;
  const pod = { ...POD, addresses: [...POD.addresses, second] };
  const runs = await runsOf(pod, DONE);
  const rules = runs.filter(({ argv }) => / rule add /.test(argv)).map(({ argv }) => argv);
  expect(rules).toEqual(["ip -4 rule add pref 0 from 169.254.77.1 to 10.9.3.78 lookup 29810"]);
});

test("a family that the pod has not is left alone; one without any address cannot be shared", async () => {
  const only = (family: string): PodInterface => {
    return { ...POD, addresses: POD.addresses.filter((each) => each.family === family) };
  };
  const commands = async (family: string): Promise<string> =>
    (await runsOf(only(family), FRESH)).map(({ argv, stdin }) => `${argv}\n${stdin}`).join("\n");
  expect(await commands("ipv4")).not.toMatch(/ip -6|net\/ipv6|fd00/);
  expect(await commands("ipv6")).not.toMatch(/ip -4|10\.9/);
  await expect(runsOf(only("none"), FRESH)).rejects.toThrow(/no address/);
});

test("no tap of the guest's gets at the namespace, not the primary's alone, and no macvtap's network", () => {
  const taps = ["tap0", "tap1"];
  const carriers = ["net1"];
  const rules = sharingRules({ interface: POD, tap: "tap0", taps, carriers, forwardPort: 4000 });
  const input = rules.slice(rules.indexOf("flush chain inet trine input"));
  expect(input.match(/iifname .*/g)).toEqual([
    'iifname { "tap0", "tap1" } ct state established,related accept',
    'iifname "tap0" ip daddr 169.254.77.1 accept',
    'iifname "tap0" ip6 daddr fd10:0:77::1 accept',
    'iifname { "tap0", "tap1" } counter name "refused" drop',
    'iifname "net1" drop',
  ]);
});

test("a port that belongs to one side is that side's before anybody's socket is asked for", () => {
  const rules = sharingRules({
    interface: POD,
    tap: "tap0",
    taps: ["tap0", "tap1"],
    carriers: [],
    forwardPort: 4000,
    ports: {
      machine: [{ protocol: "tcp", port: 22 }],
      containers: [{ protocol: "udp", port: 53 }],
    },
  });
  const at = (line: string): number => rules.indexOf(line);
  expect(at("    udp dport 53 accept\n")).toBeGreaterThan(0);
  expect(at("    tcp dport 22 meta mark set 29810 notrack accept\n")).toBeGreaterThan(0);
  expect(at("    tcp dport 22")).toBeLessThan(at("socket transparent 0"));
  expect(at("    udp dport 53")).toBeLessThan(at("socket transparent 0"));
});

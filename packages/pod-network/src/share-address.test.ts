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
      .find(({ argv }) => argv === "ip -batch -")
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

test("the local table's rule goes behind the others, and only once", async () => {
  const rules = (runs: { argv: string }[]): string[] =>
    runs.map(({ argv }) => argv).filter((argv) => /^ip -4 rule/.test(argv));
  expect(rules(await runsOf(POD, FRESH))).toEqual([
    "ip -4 rule add pref 1 lookup local",
    "ip -4 rule add pref 0 fwmark 29810 lookup 29810",
    "ip -4 rule add pref 0 from 169.254.77.1 to 10.9.3.77 lookup 29810",
    "ip -4 rule del pref 0 lookup local",
  ]);
  expect(rules(await runsOf(POD, DONE))).toEqual([]);
});

test("a pod without IPv4 cannot be shared: said, not half done", async () => {
  const pod = { ...POD, addresses: POD.addresses.filter(({ family }) => family === "ipv6") };
  await expect(runsOf(pod, FRESH)).rejects.toThrow(/no IPv4 address/);
});

test("no tap of the guest's gets at the namespace, not the primary's alone, and no macvtap's network", () => {
  const taps = ["tap0", "tap1"];
  const carriers = ["net1"];
  const rules = sharingRules({ interface: POD, tap: "tap0", taps, carriers, forwardPort: 4000 });
  const input = rules.slice(rules.indexOf("flush chain inet trine input"));
  expect(input.match(/iifname .*/g)).toEqual([
    'iifname { "tap0", "tap1" } ct state established,related accept',
    'iifname "tap0" ip daddr 169.254.77.1 accept',
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

// A pod made by the real CNI plugins in namespaces of their own; a second veth pair stands in for the
// tap, its far end for the guest's NIC.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { pollUntil, withDeadline } from "@trine/base";
import { connectTaps } from "./connect-taps.ts";
import { guestNetwork, linkLocalOf } from "./guest-network.ts";
import { masqueraded } from "./masquerade.ts";
import type { PodInterface } from "./pod-interface.ts";
import { readPodInterfaces } from "./read-pod-interfaces.ts";
import type { RunInPod } from "./run-command.ts";

const CNI_DIR = "/usr/lib/cni";
const PORT = 8080;
const FORWARD_PORT = 4000;
const LINK_LOCAL = linkLocalOf(0);
const NAMES = ["node", "pod", "guest", "peer"] as const;
type Name = (typeof NAMES)[number];
type Result = Awaited<ReturnType<RunInPod>>;

let dataDir: string;
let children: ChildProcess[];

const netns = (name: Name): string => `trine${process.pid}${name}`;

async function run(argv: readonly string[], stdin = "", env = {}): Promise<Result> {
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { env: { ...process.env, ...env }, timeout: 15_000 });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  child.stdin.on("error", () => undefined); // a program may end before it has read its input
  child.stdin.end(stdin);
  const [code] = (await once(child, "close")) as [number | null];
  return { exitCode: code ?? -1, ...output };
}

async function must(argv: readonly string[], stdin = "", env = {}): Promise<string> {
  const result = await run(argv, stdin, env);
  if (result.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${JSON.stringify(result)}`);
  return result.stdout;
}

const inside = (name: Name): string[] => ["ip", "netns", "exec", netns(name)];
const ip = (name: Name, lines: readonly string[]): Promise<string> =>
  must([...inside(name), "ip", "-batch", "-"], lines.map((line) => `${line}\n`).join(""));
const runInPod: RunInPod = (argv, stdin) => run([...inside("pod"), ...argv], stdin);

function cni(command: "ADD" | "DEL", who: "pod" | "peer", config: object): Promise<string> {
  const type = (config as { type: string }).type;
  const name = `${CNI_DIR}/${type}`;
  const text = JSON.stringify({ cniVersion: "0.4.0", name: "trinetest", ...config });
  return must([...inside("node"), name], text, {
    CNI_PATH: CNI_DIR,
    CNI_IFNAME: "eth0",
    CNI_CONTAINERID: netns(who),
    CNI_NETNS: `/run/netns/${netns(who)}`,
    CNI_COMMAND: command,
  });
}

const ipam = (subnets: readonly string[]): object => ({
  type: "host-local",
  dataDir,
  ranges: subnets.map((subnet) => [{ subnet }]),
  routes: [{ dst: "0.0.0.0/0" }, ...(subnets.length > 1 ? [{ dst: "::/0" }] : [])],
});
const bridge = (subnets: readonly string[]): object => ({
  type: "bridge",
  bridge: "cni0",
  isGateway: true,
  ipMasq: true,
  ipam: ipam(subnets),
});

/** Gives the guest's end of the stand-in tap the pod's MAC and what the seed would say. */
async function startGuest(pod: PodInterface): Promise<void> {
  await ip("pod", [`link add tap0 type veth peer name eth0 netns ${netns("guest")}`]);
  const [nic] = guestNetwork([pod], { nameservers: [], search: [] }).interfaces;
  if (nic === undefined) throw new Error("no interface");
  await ip("guest", [
    `link set eth0 address ${nic.mac} mtu ${nic.mtu}`,
    "link set eth0 up",
    ...nic.addresses.map((a) => `address add ${a} dev eth0${a.includes(":") ? " nodad" : ""}`),
    ...nic.routes.map(({ to, via }) =>
      via === undefined ? `route add ${to} dev eth0` : `route add ${to} via ${via} dev eth0 onlink`,
    ),
  ]);
}

async function connect(pod: PodInterface): Promise<void> {
  await connectTaps(runInPod, [{ interface: pod, tap: "tap0" }], FORWARD_PORT);
}

/** Runs a Node script in the namespace until the test ends; resolves once it has printed a line. */
async function serve(name: Name, script: string): Promise<void> {
  const [file, ...args] = ["ip", "netns", "exec", netns(name), process.execPath, "-e", script];
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  await withDeadline("server", 10_000, once(child.stdout, "data"));
}

const serveGuest = (): Promise<void> => serveName("guest", PORT);

/** Says who serves and who called. */
const serveName = (name: Name, port: number): Promise<void> =>
  serve(
    name,
    `require("net").createServer((s) => s.end("${name} saw " + s.remoteAddress.replace("::ffff:", "")))
       .listen(${port}, "::", () => console.log("ready"))`,
  );

/** Stands in for the shim's forwarder, which learns the port from SO_ORIGINAL_DST. */
const serveForward = (target: string): Promise<void> =>
  serve(
    "pod",
    `const net = require("net");
     const carry = (s) => { s.on("error", () => {});
       const g = net.connect({ host: "${target}", port: ${PORT}, localAddress: "${LINK_LOCAL}" });
       g.on("error", () => s.destroy()); s.pipe(g).pipe(s); };
     net.createServer(carry).listen(${FORWARD_PORT}, "127.0.0.1", () =>
       net.createServer(carry).listen(${FORWARD_PORT}, "::1", () => console.log("ready")));`,
  );

/** What the other end sends, or the error code; TIMEOUT after `ms`. */
async function dial(
  from: Name,
  host: string,
  port: number,
  { source, ms = 5000 }: { source?: string; ms?: number } = {},
): Promise<string> {
  const options = JSON.stringify({ host, port, localAddress: source });
  const script = `const s = require("net").connect(${options}); setTimeout(() => end("TIMEOUT"), ${ms});
    const end = (t) => { process.stdout.write(t); process.exit(0); };
    s.on("data", (d) => end(d.toString())); s.on("error", (e) => end(e.code)); s.on("end", () => end("END"));`;
  return must([...inside(from), process.execPath, "-e", script]);
}

async function counter(family: "netdev" | "inet", name: string, table = "trine"): Promise<number> {
  const argv = [...inside("pod"), "nft", "-j", "list", "counter", family, table, name];
  const answer = JSON.parse(await must(argv)) as { nftables: { counter?: { packets: number } }[] };
  return answer.nftables.find((one) => one.counter !== undefined)?.counter?.packets ?? -1;
}

/** The counter rises while `provoke` runs. */
async function expectCounted(
  family: "netdev" | "inet",
  name: string,
  provoke: () => Promise<unknown>,
): Promise<void> {
  const before = await counter(family, name);
  const provoking = provoke();
  await pollUntil(`counter ${name}`, { ms: 10_000, everyMs: 50 }, async () =>
    (await counter(family, name)) > before ? true : undefined,
  );
  await provoking;
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "trine-cni-"));
  children = [];
  for (const name of NAMES) {
    await must(["ip", "netns", "add", netns(name)]);
    await ip(name, ["link set lo up"]);
  }
});

afterEach(async () => {
  for (const child of children) {
    const ended = child.exitCode === null ? once(child, "exit") : Promise.resolve();
    child.kill("SIGKILL");
    await ended;
  }
  for (const name of NAMES) await run(["ip", "netns", "del", netns(name)]);
  await rm(dataDir, { recursive: true });
});

async function bridgedPod(): Promise<{ pod: PodInterface; config: object }> {
  const config = bridge(["10.213.0.0/24", "fd00:213::/64"]);
  await cni("ADD", "pod", config);
  await cni("ADD", "peer", config);
  const [pod] = await readPodInterfaces(runInPod);
  if (pod === undefined) throw new Error("no interface");
  return { pod, config };
}

async function connectedPod(): Promise<{ pod: PodInterface; config: object }> {
  const made = await bridgedPod();
  await startGuest(made.pod);
  await connect(made.pod);
  return made;
}

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

test("says what failed when the tap is missing", async () => {
  const { pod } = await bridgedPod();
  await expect(connect(pod)).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/^connect tap0 to eth0: nft -f - ended with 1: /) as string,
  });
});

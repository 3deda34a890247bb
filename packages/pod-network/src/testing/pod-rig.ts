// A pod made by the real CNI plugins in namespaces of their own; a second veth pair stands in for the
// tap, its far end for the guest's NIC.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil, withDeadline } from "@trine/base";
import { connectTaps } from "../connect-taps.ts";
import { guestNetwork, linkLocalOf } from "../guest-network.ts";
import type { PodInterface } from "../pod-interface.ts";
import { readPodInterfaces } from "../read-pod-interfaces.ts";
import type { RunInPod } from "../run-command.ts";

const CNI_DIR = "/usr/lib/cni";
export const PORT = 8080;
export const FORWARD_PORT = 4000;
export const LINK_LOCAL = linkLocalOf(0);
const NAMES = ["node", "pod", "guest", "peer"] as const;
type Name = (typeof NAMES)[number];
type Result = Awaited<ReturnType<RunInPod>>;

let dataDir: string;
let children: ChildProcess[];

export const netns = (name: Name): string => `trine${process.pid}${name}`;

async function run(argv: readonly string[], stdin = ""): Promise<Result> {
  const [file = "", ...args] = argv;
  const child = spawn(file, args, { timeout: 15_000 });
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (output.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output.stderr += chunk.toString()));
  child.stdin.on("error", () => undefined); // a program may end before it has read its input
  child.stdin.end(stdin);
  const [code] = (await once(child, "close")) as [number | null];
  return { exitCode: code ?? -1, ...output };
}

export async function must(argv: readonly string[], stdin = ""): Promise<string> {
  const result = await run(argv, stdin);
  if (result.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${JSON.stringify(result)}`);
  return result.stdout;
}

export const inside = (name: Name): string[] => ["ip", "netns", "exec", netns(name)];
export const ip = (name: Name, lines: readonly string[]): Promise<string> =>
  must([...inside(name), "ip", "-batch", "-"], lines.map((line) => `${line}\n`).join(""));
export const runInPod: RunInPod = (argv, stdin) => run([...inside("pod"), ...argv], stdin);

export function cni(command: "ADD" | "DEL", who: "pod" | "peer", config: object): Promise<string> {
  const type = (config as { type: string }).type;
  const name = `${CNI_DIR}/${type}`;
  const text = JSON.stringify({ cniVersion: "0.4.0", name: "trinetest", ...config });
  const variables = {
    CNI_PATH: CNI_DIR,
    CNI_IFNAME: "eth0",
    CNI_CONTAINERID: netns(who),
    CNI_NETNS: `/run/netns/${netns(who)}`,
    CNI_COMMAND: command,
  };
  const words = Object.entries(variables).map(([key, value]) => `${key}=${value}`);
  return must([...inside("node"), "env", ...words, name], text);
}

export const ipam = (subnets: readonly string[]): object => ({
  type: "host-local",
  dataDir,
  ranges: subnets.map((subnet) => [{ subnet }]),
  routes: [{ dst: "0.0.0.0/0" }, ...(subnets.length > 1 ? [{ dst: "::/0" }] : [])],
});
export const bridge = (subnets: readonly string[]): object => ({
  type: "bridge",
  bridge: "cni0",
  isGateway: true,
  ipMasq: true,
  ipam: ipam(subnets),
});

/** Gives the guest's end of the stand-in tap the pod's MAC and what the seed would say. */
export async function startGuest(pod: PodInterface): Promise<void> {
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

export async function connect(pod: PodInterface): Promise<void> {
  await connectTaps(runInPod, [{ interface: pod, tap: "tap0" }], FORWARD_PORT);
}

/** Runs a Node script in the namespace until the test ends; resolves once it has printed a line. */
async function serve(name: Name, script: string): Promise<void> {
  const [file, ...args] = ["ip", "netns", "exec", netns(name), process.execPath, "-e", script];
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  await withDeadline("server", 10_000, once(child.stdout, "data"));
}

export const serveGuest = (): Promise<void> => serveName("guest", PORT);

/** Says who serves and who called. */
export const serveName = (name: Name, port: number): Promise<void> =>
  serve(
    name,
    `require("net").createServer((s) => s.end("${name} saw " + s.remoteAddress.replace("::ffff:", "")))
       .listen(${port}, "::", () => console.log("ready"))`,
  );

/** Stands in for the shim's forwarder, which learns the port from SO_ORIGINAL_DST. */
export const serveForward = (target: string, source = LINK_LOCAL): Promise<void> =>
  serve(
    "pod",
    `const net = require("net");
     const carry = (s) => { s.on("error", () => {});
       const g = net.connect({ host: "${target}", port: ${PORT}, localAddress: "${source}" });
       g.on("error", () => s.destroy()); s.pipe(g).pipe(s); };
     net.createServer(carry).listen(${FORWARD_PORT}, "127.0.0.1", () =>
       net.createServer(carry).listen(${FORWARD_PORT}, "::1", () => console.log("ready")));`,
  );

/** What the other end sends, or the error code; TIMEOUT after `ms`. */
export async function dial(
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

export async function counter(
  family: "netdev" | "inet",
  name: string,
  table = "trine",
): Promise<number> {
  const argv = [...inside("pod"), "nft", "-j", "list", "counter", family, table, name];
  const answer = JSON.parse(await must(argv)) as { nftables: { counter?: { packets: number } }[] };
  return answer.nftables.find((one) => one.counter !== undefined)?.counter?.packets ?? -1;
}

/** The counter rises while `provoke` runs. */
export async function expectCounted(
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

/** No address is looked for among others first: the bridge's would be nobody's for a second or two. */
const AT_ONCE = ["all", "default"].map((each) => `net.ipv6.conf.${each}.accept_dad=0`);

/** Namespaces of a node, its pod, that one's guest and another pod. */
export async function makeNamespaces(): Promise<void> {
  dataDir = await mkdtemp(join(tmpdir(), "trine-cni-"));
  children = [];
  for (const name of NAMES) {
    await must(["ip", "netns", "add", netns(name)]);
    await ip(name, ["link set lo up"]);
    await must([...inside(name), "sysctl", "-qw", ...AT_ONCE]);
  }
}

/** Ends what was started in them, and them. */
export async function endNamespaces(): Promise<void> {
  for (const child of children) {
    const ended = child.exitCode === null ? once(child, "exit") : Promise.resolve();
    child.kill("SIGKILL");
    await ended;
  }
  for (const name of NAMES) await run(["ip", "netns", "del", netns(name)]);
  await rm(dataDir, { recursive: true });
}

export async function bridgedPod(): Promise<{ pod: PodInterface; config: object }> {
  const config = bridge(["10.213.0.0/24", "fd00:213::/64"]);
  await cni("ADD", "pod", config);
  await cni("ADD", "peer", config);
  const [pod] = await readPodInterfaces(runInPod);
  if (pod === undefined) throw new Error("no interface");
  return { pod, config };
}

export async function connectedPod(): Promise<{ pod: PodInterface; config: object }> {
  const made = await bridgedPod();
  await startGuest(made.pod);
  await connect(made.pod);
  return made;
}

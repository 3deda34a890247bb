// A pod of three networks, as Multus makes them: each interface is one of the guest's, on both levels.
import { chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, pollUntil } from "@trine/base";
import { runCommand, tinyGuestImage } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { BOOT_MS, READY, statusField } from "./node-under-test.ts";
import type { PodView } from "./node-under-test.ts";
import { MICROVM, PodOfTest } from "./pod-pair.ts";

const CNI = "/usr/lib/cni";
/** Networks of the test's own, told apart from those of other nodes by the bridge's number. */
const GATEWAY = "10.216.0.1";
const PREFIX = "fd99:7269:6e65:216";
const OPAQUE = "10.217.0";

let node: TrineNode;
let busybox: string;
let tiny: string;
let bridges: string[];

beforeAll(async () => {
  ({ node, image: busybox } = await startMicrovmNode());
  const disk = await tinyGuestImage();
  tiny = disk.name;
  await node.containerd.importImage(disk);
  await makeBridges();
  await addNetworks();
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
  for (const bridge of bridges) await runCommand("ip", ["link", "delete", bridge]);
});

async function makeBridges(): Promise<void> {
  const { name } = node.containerd.bridge;
  bridges = [`${name}b`, `${name}c`];
  const addresses = [[`${GATEWAY}/24`, `${PREFIX}::1/64`], [`${OPAQUE}.1/24`]];
  for (const [index, bridge] of bridges.entries()) {
    // A test that was killed has left it.
    await runCommand("ip", ["link", "delete", bridge]).catch(() => undefined);
    await runCommand("ip", ["link", "add", bridge, "type", "bridge"]);
    await runCommand("ip", ["link", "set", bridge, "up"]);
    for (const address of addresses[index] ?? []) {
      const words = ["address", "add", address, "dev", bridge];
      await runCommand("ip", address.includes(":") ? [...words, "nodad"] : words);
    }
  }
}

/** What Multus does: further networks for a pod that has its first one. */
const SECOND = `#!${process.execPath}
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
const { env } = process;
if (env.CNI_COMMAND === "VERSION") {
  console.log(JSON.stringify({ cniVersion: "1.0.0", supportedVersions: ["0.4.0", "1.0.0"] }));
  process.exit();
}
const { networks, prevResult } = JSON.parse(readFileSync(0, "utf8"));
for (const { ifName, ...network } of networks) {
  const { status, stdout } = spawnSync("${CNI}/" + network.type, {
    input: JSON.stringify({ cniVersion: "1.0.0", ...network }),
    env: { ...env, CNI_IFNAME: ifName },
    encoding: "utf8",
  });
  if (status !== 0) {
    process.stdout.write(stdout);
    process.exit(1);
  }
}
if (env.CNI_COMMAND === "ADD") console.log(JSON.stringify(prevResult));
`;

/** net1 has addresses of both families, an MTU and a route of its own; net2 has none. */
async function addNetworks(): Promise<void> {
  const { containerd } = node;
  const bin = join(containerd.dir, "cni-bin");
  await mkdir(bin);
  for (const plugin of ["bridge", "host-local", "portmap", "loopback"]) {
    await symlink(join(CNI, plugin), join(bin, plugin));
  }
  await writeFile(join(bin, "second.mjs"), SECOND);
  await chmod(join(bin, "second.mjs"), 0o755);
  const file = join(containerd.dir, "config.toml");
  const config = await readFile(file, "utf8");
  await writeFile(file, config.replaceAll(`"${CNI}"`, `"${bin}"`));

  const [net1 = "", net2 = ""] = bridges;
  const ipam = {
    type: "host-local",
    dataDir: join(containerd.dir, "ipam2"),
    ranges: [[{ subnet: "10.216.0.0/24" }], [{ subnet: `${PREFIX}::/64` }]],
    routes: [{ dst: "192.0.2.0/24", gw: GATEWAY }],
  };
  const networks = [
    { ifName: "net1", name: "second", type: "bridge", bridge: net1, mtu: 1400, ipam },
    { ifName: "net2", name: "third", type: "bridge", bridge: net2 },
  ];
  const list = join(containerd.dir, "cni/10-pods.conflist");
  const pods = JSON.parse(await readFile(list, "utf8")) as { plugins: object[] };
  pods.plugins.push({ type: "second.mjs", networks });
  await writeFile(list, JSON.stringify(pods));
  await containerd.restart();
}

async function viewOf(
  pod: Pick<RunningPod, "podSandboxId">,
): Promise<PodView & { addresses: string[] }> {
  const { items } = JSON.parse((await node.api("/v1/pods")).body) as {
    items: (PodView & { addresses: string[] })[];
  };
  const view = items.find((item) => item.sandboxId === pod.podSandboxId);
  if (view === undefined) throw new Error(`no pod ${pod.podSandboxId}`);
  return view;
}

/** Hardware addresses as CNI gave them, which the pod's namespace keeps. */
async function macsOf(pod: Pick<RunningPod, "podSandboxId">): Promise<Record<string, string>> {
  const { shim } = await viewOf(pod);
  const words = ["-t", `${shim.pid}`, "-n", "ip", "-j", "link", "show", "type", "veth"];
  const links = JSON.parse(await runCommand("nsenter", words)) as {
    ifname: string;
    address: string;
  }[];
  return Object.fromEntries(links.map(({ ifname, address }) => [ifname, address]));
}

async function get(host: string): Promise<string> {
  return pollUntil(`${host} answers`, { ms: 60_000, everyMs: 300 }, () =>
    fetch(`http://${host}:8080/`, { signal: AbortSignal.timeout(5000) })
      .then((answer) => answer.text())
      .catch(() => undefined),
  );
}

/** Of an answer, or why there is none. */
async function status(url: string): Promise<unknown> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(10_000) }).catch(
    (cause: unknown) => errnoOf((cause as Error).cause) ?? cause,
  );
  return answer instanceof Response ? answer.status : answer;
}

const LOOK = `
  for n in eth0 net1 net2; do
    echo $n $(cat /sys/class/net/$n/mtu) $(ip -o addr show dev $n scope global | awk '{print $3, $4}')
  done
  ip route; ip -6 route | grep -E 'fd99|default' | sed 's/  *metric.*//'
  ip address add ${OPAQUE}.9/24 dev net2
  for to in ${GATEWAY} ${PREFIX}::1 ${OPAQUE}.1; do
    ping -c 1 -W 20 $to | grep -c '1 packets received'
  done
  ip address del ${OPAQUE}.9/24 dev net2`;

test("a container sees the pod's networks in its guest as under runc, also after trined has died", async () => {
  const serve = "mkdir /w; echo page >/w/index.html; exec httpd -f -p 8080 -h /w";
  const look = async (handler: string): Promise<{ seen: string; pod: PodOfTest }> => {
    const pod = await PodOfTest.start(node, { handler, image: busybox, name: "nets" });
    const container = await pod.run({
      command: ["/bin/sh", "-c", serve],
      linux: { securityContext: { capabilities: { addCapabilities: ["NET_ADMIN"] } } },
    });
    const seen = await pod.sh(container, LOOK);
    if (handler === MICROVM) {
      const macs = await pod.sh(container, "cd /sys/class/net; grep . eth0/address net?/address");
      for (const [name, mac] of Object.entries(await macsOf(pod))) {
        expect(macs).toContain(`${name}/address:${mac}\n`);
      }
    }
    // Each pod has addresses of its own.
    return { seen: seen.replaceAll(/(10\.21\d\.\d+|fd99:[0-9a-f:]+:)\.?[0-9a-f]+/g, "$1"), pod };
  };
  const runc = await look("");
  const microvm = await look(MICROVM);
  expect(microvm.seen).toEqual(runc.seen);
  expect(microvm.seen).toContain("net1 1400 inet 10.216.0");

  const { addresses } = await viewOf(microvm.pod);
  expect(addresses).toHaveLength(3);
  const [, second = "", third = ""] = addresses;
  expect(await get(second)).toBe("page\n");
  await node.killTrined();
  expect(await get(`[${third}]`)).toBe("page\n");
  await node.startTrined();
  expect((await viewOf(microvm.pod)).addresses).toEqual(addresses);
  expect(await get(second)).toBe("page\n");
  await microvm.pod.remove();
  await runc.pod.remove();
}, 300_000);

test("a machine has a NIC for each of the pod's networks, and DHCP answers on those with addresses", async () => {
  const pod = await node.run({
    name: "machine",
    image: tiny,
    annotations: {
      "trine.dev/memory": "128Mi",
      "trine.dev/network-binding": "net1=masquerade",
      "trine.dev/network-mac": "02:00:00:00:00:77",
      "trine.dev/interfaces": "{net1: {ipv4: 10.11.12.0/24, ipv6: 'fd77::/64', ports: 8080}}",
    },
  });
  await node.untilOutput(pod, READY, BOOT_MS);
  const sh = async (script: string): Promise<string> => {
    const cmd = ["/bin/sh", "-c", script];
    const { containerId } = pod;
    const answer = await node.containerd.cri.runtime.execSync({ containerId, cmd, timeout: 60n });
    return Buffer.concat([answer.stdout, answer.stderr]).toString();
  };
  const macs = await macsOf(pod);
  expect(macs["eth0"]).toBe("02:00:00:00:00:77");
  expect(await sh("cat /sys/class/net/eth[012]/address")).toBe(
    `${macs["eth0"]}\n${macs["net1"]}\n${macs["net2"]}\n`,
  );
  const { addresses } = await viewOf(pod);
  const lease = "udhcpc -i eth1 -n -q -t 10 -T 1 -s /etc/udhcpc.script >/dev/null 2>&1";
  await sh(lease);
  const shown = await sh("ip -4 -o addr show dev eth1; ip route; cat /sys/class/net/eth1/mtu");
  expect(shown).toContain("inet 10.11.12.2/24");
  expect(shown).toContain("via 10.11.12.1 dev eth1");
  expect(shown).toMatch(/^1400$/m);
  // The shim advertises the router of its network, whom the namespace is.
  await pollUntil("the guest has a router", { ms: 60_000, everyMs: 500 }, async () => {
    const routes = await sh("ip -6 route show dev eth1");
    return routes.includes("default via fe80::77:1 ") ? true : undefined;
  });
  // The guest is behind the pod's address there; eth0 is as the pod had it.
  expect(await get(addresses[1] ?? "")).toContain("machine");
  // At the port that is said and at no other, though the guest serves there too.
  await sh("httpd -p 8082 -h /");
  expect(await status(`http://${addresses[0]}:8082/`)).not.toBe("ECONNREFUSED");
  for (const host of [addresses[1], `[${addresses[2]}]`]) {
    expect(await status(`http://${host}:8082/`)).toBe("ECONNREFUSED");
  }
  expect(await sh("ip -4 -o addr show dev eth0")).toContain(`inet ${addresses[0]}/24`);
  await sh(`ip link set eth2 up; ip address add ${OPAQUE}.8/24 dev eth2`);
  expect(await sh(`ping -c 1 -W 20 ${OPAQUE}.1`)).toContain("1 packets received");

  await node.killTrined();
  expect(await get(addresses[1] ?? "")).toContain("machine");
  await node.startTrined();
  await sh(`ip addr flush dev eth1; ${lease}`); // the shim has answered all along
  expect(await sh("ip -4 -o addr show dev eth1")).toContain("inet 10.11.12.2/24");
  expect(await macsOf(pod)).toEqual(macs);
  await node.remove(pod);
  const annotations = { "trine.dev/network-binding": "net9=masquerade" };
  await expect(node.run({ name: "wrong", image: tiny, annotations })).rejects.toThrow(
    "the pod has no interface net9; it has eth0, net1, net2",
  );
}, 240_000);

/** Process id of the passt that carries the pod's machine; undefined when there is none. */
async function passtOf(pod: Pick<RunningPod, "podSandboxId">): Promise<number | undefined> {
  const { shim } = await viewOf(pod);
  const children = await readFile(`/proc/${shim.pid}/task/${shim.pid}/children`, "utf8");
  for (const pid of children.trim().split(" ").map(Number)) {
    const name = await statusField(pid, "Name").catch((cause: unknown) => {
      if (errnoOf(cause) === "ENOENT") return ""; // it has ended since
      throw cause;
    });
    if (name.startsWith("passt")) return pid;
  }
  return undefined;
}

/** Of one that is there, other than `former`: 0 would be this process's own group. */
async function untilPasst(pod: Pick<RunningPod, "podSandboxId">, former?: number): Promise<number> {
  return pollUntil("passt runs", { ms: 30_000, everyMs: 100 }, async () => {
    const found = await passtOf(pod);
    return found === former ? undefined : found;
  });
}

async function inNamespace(
  pod: Pick<RunningPod, "podSandboxId">,
  argv: readonly string[],
): Promise<string> {
  const { shim } = await viewOf(pod);
  return runCommand("nsenter", ["-t", `${shim.pid}`, "-n", ...argv]);
}

test("a machine has its networks by passt and a macvtap, and keeps them when trined or passt dies", async () => {
  const pod = await node.run({
    name: "carried",
    image: tiny,
    annotations: {
      "trine.dev/memory": "128Mi",
      "trine.dev/cpus": "2",
      "trine.dev/machine": "main",
      "trine.dev/ports": "main=8080",
      "trine.dev/network-binding": "eth0=passt,net1=macvtap",
      "trine.dev/network-multiqueue": "on",
      "trine.dev/network-mac": "02:00:00:00:00:78",
      "trine.dev/interfaces": "{net2: {link: down}}",
    },
  });
  await node.untilOutput(pod, READY, BOOT_MS);
  const sh = async (script: string): Promise<string> => {
    const cmd = ["/bin/sh", "-c", script];
    const { containerId } = pod;
    const answer = await node.containerd.cri.runtime.execSync({ containerId, cmd, timeout: 60n });
    return Buffer.concat([answer.stdout, answer.stderr]).toString();
  };
  const { addresses } = await viewOf(pod);
  const [first = "", second = ""] = addresses;
  const passt = await untilPasst(pod);
  expect(await statusField(passt, "CapEff")).toBe("0000000000000000");
  expect(await statusField(passt, "Uid")).not.toMatch(/^0\b/);
  expect(await sh("ip -4 -o addr show dev eth0")).toContain(`inet ${first}/24`);
  expect(await get(first)).toContain("carried");
  expect(await inNamespace(pod, ["busybox", "wget", "-qO-", "http://127.0.0.1:8080/"])).toContain(
    "carried",
  );

  expect(await sh("cat /sys/class/net/eth0/address")).toBe("02:00:00:00:00:78\n");
  const carriers = "ip link set eth1 up; ip link set eth2 up; cat /sys/class/net/eth[012]/carrier";
  expect(await sh(carriers)).toBe("1\n1\n0\n");
  const macs = await inNamespace(pod, ["ip", "-j", "link", "show", "dev", "mvt1"]);
  const [{ address = "" } = {}] = JSON.parse(macs) as { address?: string }[];
  expect(await sh("cat /sys/class/net/eth1/address; ls /sys/class/net/eth1/queues")).toBe(
    `${address}\nrx-0\nrx-1\ntx-0\ntx-1\n`,
  );
  await sh("udhcpc -i eth1 -n -q -t 10 -T 1 -s /etc/udhcpc.script >/dev/null 2>&1");
  expect(await sh("ip -4 -o addr show dev eth1; cat /sys/class/net/eth1/mtu")).toMatch(
    new RegExp(`inet ${second}/24[^]*^1400$`, "m"),
  );
  expect(await get(second)).toContain("carried");
  // Under another's address nothing leaves the pod.
  await sh("ip addr add 10.216.0.200/24 dev eth1; ping -c 2 -W 1 -I 10.216.0.200 10.216.0.1");
  const list = ["nft", "list", "counter", "netdev", "trine", "spoofed"];
  expect(await inNamespace(pod, list)).toMatch(/packets [1-9]/);
  expect(await get(second)).toContain("carried");

  await node.killTrined();
  expect(await get(first)).toContain("carried");
  process.kill(passt, "SIGKILL");
  await node.startTrined();
  expect(await get(first)).toContain("carried");
  const another = await untilPasst(pod, passt);
  process.kill(another, "SIGKILL");
  await untilPasst(pod, another);
  expect(await get(first)).toContain("carried");
  expect(await get(second)).toContain("carried");
  await node.remove(pod);
  const annotations = { "trine.dev/network-binding": "net1=passt" };
  await expect(node.run({ name: "wrong", image: tiny, annotations })).rejects.toThrow(
    "passt carries the pod's first interface and its addresses, and net1 is not the first",
  );
}, 240_000);

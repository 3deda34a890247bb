// A machine's network by binding, from its guest to a pod and back, beside the same machine run straight with a tap.
import { basename, dirname, join } from "node:path";
import { pollUntil } from "@trine/base";
import { TrineNode, busyboxImage, runCommand, tinyGuestDisk, tinyGuestImage } from "@trine/testkit";
import type { RunningPod, TestImage } from "@trine/testkit";
import { startBareMachine } from "./bare-machine.ts";
import { median } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { bareRunner, podRunner } from "./guest-fio.ts";
import type { RunInGuest } from "./guest-fio.ts";
import { machineOf, machinePodOptions } from "./machine-pods.ts";
import { NetServer, PORTS } from "./net-server.ts";
import type { Direction } from "./net-server.ts";
import { PeerCgroup } from "./peer-cgroup.ts";

const ROUNDS = 5;
const MEMORY_MIB = 128;
const BOOT_MS = 300_000;
const READY = "TINY-GUEST READY";
const BINDINGS = ["tap", "masquerade", "passt"] as const;
const TARGET_RATIO = 0.95;
const GIVE_UP_SECONDS = 10;
/** Of the peer: the bridge's own DHCP range ends before. */
const BARE_HOST = "250";
const NOTES = [
  `One TCP connection of 2 s at a time between a tiny guest (busybox dd and nc) and a pod of runc on one bridge, ${ROUNDS} rounds in turns; ` +
    "to-pod: the guest sends. bare: QEMU with the same arguments, its tap a port of the bridge, in the pods' cgroup.",
];

export async function run(): Promise<BenchResult> {
  const images = [await tinyGuestImage(), await busyboxImage()] as const;
  const node = await TrineNode.start({ version: "1.6" });
  try {
    for (const image of images) await node.containerd.importImage(image);
    const peer = await node.run({
      ...{ name: "peer", image: images[1].name, handler: "", command: ["sleep", "100000"] },
    });
    await using server = await NetServer.start(node, peer);
    const sides = new Map<string, RunInGuest>();
    let first: RunningPod | undefined;
    for (const binding of BINDINGS) {
      const pod = await startPod(node, images[0], binding);
      first ??= pod;
      sides.set(binding, podRunner(node, pod));
    }
    if (first === undefined) throw new Error("no binding");
    const { pid, consoleLog } = await machineOf(node, first);
    const cgroup = await PeerCgroup.beside(pid);
    const samples = await besideBare(node, { cgroup, consoleLog }, (bare) =>
      measure(server, peer.ip, new Map([["bare", bare], ...sides])),
    );
    await cgroup.remove();
    return { figures: figuresOf(samples), samples: Object.fromEntries(samples), notes: NOTES };
  } finally {
    await node.stop();
  }
}

async function startPod(node: TrineNode, image: TestImage, binding: string): Promise<RunningPod> {
  const annotations = { "trine.dev/network-binding": binding };
  const pod = await node.run(machinePodOptions(binding, image, MEMORY_MIB, annotations));
  await node.untilOutput(pod, READY, BOOT_MS);
  return pod;
}

async function besideBare<T>(
  node: TrineNode,
  { cgroup, consoleLog }: { readonly cgroup: PeerCgroup; readonly consoleLog: string },
  act: (bare: RunInGuest) => Promise<T>,
): Promise<T> {
  const seed = join(node.stateDir, "pods", basename(dirname(consoleLog)), "seed.iso");
  await using bare = await startBareMachine({
    ...{ image: await tinyGuestDisk(), seed, memoryBytes: MEMORY_MIB * 2 ** 20 },
    ...{ console: "serial", cgroup },
  });
  const over = new AbortController();
  try {
    await plugIn(bare.pid, node.containerd.bridge.name);
    const runner = await bareRunner(bare, over.signal);
    const address = node.containerd.bridge.gateway.replace(/\d+$/, BARE_HOST);
    await runner(["/bin/sh", "-c", `ip address add ${address}/24 dev eth0; ip link set eth0 up`]);
    return await act(runner);
  } finally {
    over.abort();
  }
}

/** The machine's tap is made in a namespace of its own (SpawnedProcessHost): it becomes a port of the pods' bridge. */
async function plugIn(pid: number, bridge: string): Promise<void> {
  const name = `${bridge}bare`;
  const into = ["-t", `${pid}`, "-n", "ip", "link", "set", "tap0", "netns", `${process.pid}`];
  await pollUntil("the tap is there", { ms: BOOT_MS, everyMs: 50 }, () =>
    runCommand("nsenter", [...into, "name", name]).then(
      () => true,
      () => undefined,
    ),
  );
  await runCommand("ip", ["link", "set", name, "master", bridge, "up"]);
}

async function measure(
  server: NetServer,
  peer: string,
  sides: ReadonlyMap<string, RunInGuest>,
): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    const order = [...sides];
    if (round % 2 === 1) order.reverse();
    for (const direction of Object.keys(PORTS) as Direction[]) {
      for (const [side, guest] of order) {
        const key = `${side}.${direction}`;
        const rate = await server.rate(() => guest(["/bin/sh", "-c", scriptOf(direction, peer)]));
        samples.set(key, [...(samples.get(key) ?? []), rate]);
      }
    }
  }
  return samples;
}

/** The server ends it: what nc says of that is nothing, and one that does not notice is ended. */
function scriptOf(direction: Direction, peer: string): string {
  const call = `timeout ${GIVE_UP_SECONDS} nc ${peer} ${PORTS[direction]}`;
  const script =
    direction === "to-pod"
      ? `dd if=/dev/zero bs=65536 2>/dev/null | ${call}`
      : `${call} </dev/null >/dev/null`;
  return `${script} 2>/dev/null; exit 0`;
}

function figuresOf(samples: ReadonlyMap<string, readonly number[]>): Figure[] {
  return BINDINGS.flatMap((binding) =>
    (Object.keys(PORTS) as Direction[]).flatMap((direction) => {
      const pod = samples.get(`${binding}.${direction}`) ?? [];
      const bare = samples.get(`bare.${direction}`) ?? [];
      const ratios = pod.map((rate, round) => rate / (bare[round] ?? Number.NaN));
      const name = `vm-net.${binding}.${direction}`;
      const target = binding === "tap" ? { target: { atLeast: TARGET_RATIO } } : {};
      return [
        { name, value: median(ratios), unit: "times bare QEMU with a tap", ...target },
        { name: `${name}-rate`, value: median(pod) / 2 ** 20, unit: "MiB/s" },
      ];
    }),
  );
}

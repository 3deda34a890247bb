// A volume that a machine has by 9p over the agent's link, beside QEMU's own 9p.
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError } from "@trine/base";
import { genericTinyGuestImage, tinyGuestDisk } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import { startBareMachine } from "./bare-machine.ts";
import { median } from "./figure.ts";
import type { Figure } from "./figure.ts";
import { bareRunner, podRunner } from "./guest-fio.ts";
import type { RunInGuest } from "./guest-fio.ts";
import { machineOf, machinePodOptions } from "./machine-pods.ts";
import { PeerCgroup } from "./peer-cgroup.ts";

const ROUNDS = 3;
const MEMORY_MIB = 192;
const BOOT_MS = 300_000;
const READY = "TINY-GUEST READY";
const PLACE = "/srv";
const MIB = 16;
const FILES = 100;
const ANNOTATIONS = { "trine.dev/agent": "on", "trine.dev/shares": "9p" };
/** What cloud-init, udev and systemd do where there are such. */
const MOUNT_POD = [
  "mkdir -p /seed /dev/disk/by-label; mount -t cgroup2 cgroup2 /sys/fs/cgroup",
  "ln -sf /dev/vdb /dev/disk/by-label/cidata",
  "mount -t iso9660 -o ro /dev/vdb /seed && sh /seed/vendor-data; umount /seed",
  `grep -q " ${PLACE} 9p " /proc/mounts`,
].join("; ");
/** As the agent mounts its own (crates/agent/src/mounts.rs). */
const MOUNT_BARE = [
  "modprobe 9pnet_virtio; modprobe 9p",
  `mkdir -p ${PLACE}`,
  `mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,access=client,cache=none bare ${PLACE}`,
].join("; ");
/** Each prints hundredths of a second; what it made is gone afterwards. */
const WORK = {
  "seq-write": { units: MIB, script: `dd if=/dev/zero of=${PLACE}/big bs=1M count=${MIB}` },
  "seq-read": { units: MIB, script: `dd if=${PLACE}/big of=/dev/null bs=1M` },
  files: {
    units: FILES,
    script: `for i in $(seq ${FILES}); do echo x >${PLACE}/f$i; cat ${PLACE}/f$i; rm ${PLACE}/f$i; done >/dev/null`,
  },
} as const;
const UPTIME = "$(cut -d' ' -f1 /proc/uptime | tr -d .)";

/** The node runs the agent and its server (`machines.agent`, `microvms.fileServer`). */
export async function shareBy9p(
  node: TrineNode,
  scratch: string,
): Promise<{ figures: Figure[]; samples: Record<string, number[]> }> {
  const image = await genericTinyGuestImage();
  await node.containerd.importImage(image);
  const [mine, peers] = [join(scratch, "pod-9p"), join(scratch, "bare-9p")];
  await Promise.all([mkdir(mine), mkdir(peers)]);
  const pod = await node.run({
    ...machinePodOptions("by-9p", image, MEMORY_MIB, ANNOTATIONS),
    mounts: [{ containerPath: PLACE, hostPath: mine }],
  });
  await node.untilOutput(pod, READY, BOOT_MS);
  const { pid, consoleLog } = await machineOf(node, pod);
  const cgroup = await PeerCgroup.beside(pid);
  const samples = await besideBare(
    {
      ...{ image: await tinyGuestDisk("generic"), memoryBytes: MEMORY_MIB * 2 ** 20 },
      seed: join(node.stateDir, "pods", basename(dirname(consoleLog)), "seed.iso"),
      ...{ console: "serial", cgroup, shared9p: peers },
    },
    async (bare) => {
      const sides = { pod: podRunner(node, pod), bare };
      await sides.pod(["/bin/sh", "-c", MOUNT_POD]);
      await bare(["/bin/sh", "-c", MOUNT_BARE]);
      return measure(sides);
    },
  );
  await cgroup.remove();
  await node.remove(pod);
  return { figures: figuresOf(samples), samples };
}

async function besideBare<T>(
  options: Parameters<typeof startBareMachine>[0],
  act: (bare: RunInGuest) => Promise<T>,
): Promise<T> {
  await using bare = await startBareMachine(options);
  const over = new AbortController();
  try {
    return await act(await bareRunner(bare, over.signal));
  } finally {
    over.abort();
  }
}

async function measure(sides: {
  readonly pod: RunInGuest;
  readonly bare: RunInGuest;
}): Promise<Record<string, number[]>> {
  const samples: Record<string, number[]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    const order = round % 2 === 0 ? (["pod", "bare"] as const) : (["bare", "pod"] as const);
    for (const [name, { units, script }] of Object.entries(WORK)) {
      for (const side of order) {
        const timed = `a=${UPTIME}; ${script} 2>/dev/null || exit 1; echo $((${UPTIME} - a))`;
        const hundredths = Number(await sides[side](["/bin/sh", "-c", timed]));
        if (!(hundredths > 0)) throw new TrineError("internal", `${name}: no time has passed`);
        (samples[`9p.${name}-${side}`] ??= []).push((units * 100) / hundredths);
      }
    }
  }
  return samples;
}

function figuresOf(samples: Readonly<Record<string, readonly number[]>>): Figure[] {
  return Object.keys(WORK).flatMap((name) => {
    const pod = samples[`9p.${name}-pod`] ?? [];
    const bare = samples[`9p.${name}-bare`] ?? [];
    const ratios = pod.map((value, round) => value / (bare[round] ?? Number.NaN));
    const unit = name === "files" ? "files/s" : "MiB/s";
    return [
      { name: `vm-share.9p.${name}`, value: median(ratios), unit: "times QEMU's own 9p" },
      { name: `vm-share.9p.${name}-pod`, value: median(pod), unit },
    ];
  });
}

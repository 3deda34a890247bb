// A volume of a machine from inside its guest, beside the same machine and the same server run straight.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { DIST, TrineNode, debianGuestDisk, debianGuestImage } from "@trine/testkit";
import type { BenchResult } from "./figure.ts";
import { besideBare, compareFio, fioFigures, fioSamples, podRunner } from "./guest-fio.ts";
import { machineOf, machinePodOptions } from "./machine-pods.ts";
import { PeerCgroup } from "./peer-cgroup.ts";
import { shareBy9p } from "./share-by-9p.ts";

const ROUNDS = 3;
const MEMORY_MIB = 512;
const BOOT_MS = 600_000;
const READY = "DEBIAN-GUEST READY";
/** Where cloud-init mounts it, in both. */
const PLACE = "/srv/share";
const TARGETS = [{ name: "virtiofs", file: `${PLACE}/fio.bin`, sizeMiB: 96 }];
const CONFIG = [
  `machines: { agent: ${join(DIST, "bin/trine-agent")} }`,
  `microvms: { fileServer: ${join(DIST, "bin/trine-p9")} }`,
].join("\n");
const NOTES = [
  `fio in a Debian guest on a file of a volume, ${ROUNDS} rounds in turns: 1 MiB (4 deep) in bytes a second, 4 KiB at random (16 deep) in ` +
    "operations a second, O_DIRECT. bare: QEMU and virtiofsd with the same arguments, without jails, in the pods' cgroup.",
  "9p: a tiny guest with Debian's kernel for every machine, busybox; the agent's link beside QEMU's own virtio-9p with the same mount options: " +
    "16 MiB by dd, and files that are made, read and removed.",
];

export async function run(): Promise<BenchResult> {
  const image = await debianGuestImage();
  const node = await TrineNode.start({ version: "1.6", config: CONFIG });
  const scratch = await mkdtemp(join(tmpdir(), "trine-bench-share-"));
  try {
    await node.containerd.importImage(image);
    const [mine, peers] = [join(scratch, "pod"), join(scratch, "bare")];
    await Promise.all([mkdir(mine), mkdir(join(peers, "srv-share"), { recursive: true })]);
    const pod = await node.run({
      ...machinePodOptions("share", image, MEMORY_MIB),
      mounts: [{ containerPath: PLACE, hostPath: mine }],
    });
    await node.untilOutput(pod, READY, BOOT_MS);
    const { pid, consoleLog } = await machineOf(node, pod);
    const cgroup = await PeerCgroup.beside(pid);
    const pairs = await besideBare(
      {
        image: await debianGuestDisk(),
        seed: join(node.stateDir, "pods", basename(dirname(consoleLog)), "seed.iso"),
        memoryBytes: MEMORY_MIB * 2 ** 20,
        ...{ console: "serial", cgroup, shared: peers },
      },
      async (bare) => {
        const sides = { pod: podRunner(node, pod), bare };
        // Both mounts are there, or fio would measure the roots.
        for (const side of Object.values(sides)) await side(["findmnt", "-t", "virtiofs", PLACE]);
        return compareFio(sides, TARGETS, ROUNDS);
      },
    );
    await cgroup.remove();
    await node.remove(pod);
    const by9p = await shareBy9p(node, scratch);
    const figures = [...fioFigures("vm-share", pairs), ...by9p.figures];
    return { figures, samples: { ...fioSamples(pairs), ...by9p.samples }, notes: NOTES };
  } finally {
    await node.stop();
    await rm(scratch, { recursive: true });
  }
}

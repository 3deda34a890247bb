// Disks of a machine from inside its guest, beside the same machine run straight.
import { mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { TrineNode, debianGuestDisk, debianGuestImage, runCommand } from "@trine/testkit";
import type { DiskSpec } from "@trine/vmm";
import type { BenchResult } from "./figure.ts";
import { besideBare, compareFio, fioFigures, fioSamples, podRunner } from "./guest-fio.ts";
import { machineOf, machinePodOptions } from "./machine-pods.ts";
import { PeerCgroup } from "./peer-cgroup.ts";

const ROUNDS = 8;
const MEMORY_MIB = 512;
const DISK_MIB = 256;
const TARGET_RATIO = 0.97;
const BOOT_MS = 600_000;
const READY = "DEBIAN-GUEST READY";
const DISKS = `- {name: block, device: /dev/block}\n- {name: file, file: /vol, size: ${DISK_MIB}Mi}`;
const TARGETS = [
  { name: "overlay", file: "/var/tmp/fio.bin", sizeMiB: 96 },
  { name: "block", file: "/dev/disk/by-id/virtio-block", sizeMiB: DISK_MIB },
  { name: "file", file: "/dev/disk/by-id/virtio-file", sizeMiB: DISK_MIB },
];
const NOTES = [
  `fio in a Debian guest, ${ROUNDS} rounds in turns: reads and writes of 1 MiB (4 deep) in bytes a second, of 4 KiB at random (16 deep) ` +
    "in operations a second, both with O_DIRECT. overlay: a file on the root, an overlay over the image; block: a device of the node; " +
    "file: a raw file on a volume. bare: QEMU with the same arguments and disks of its own of the same kinds, in the pods' cgroup.",
];

export async function run(): Promise<BenchResult> {
  const image = await debianGuestImage();
  const node = await TrineNode.start({ version: "1.6" });
  const scratch = await mkdtemp(join(tmpdir(), "trine-bench-disk-"));
  const devices: string[] = [];
  try {
    await node.containerd.importImage(image);
    for (const side of ["pod", "bare"]) devices.push(await makeDisks(join(scratch, side)));
    const [ofPod = "", ofBare = ""] = devices;
    const pod = await node.run({
      ...machinePodOptions("disk", image, MEMORY_MIB, { "trine.dev/disks": DISKS }),
      devices: [{ hostPath: ofPod, containerPath: "/dev/block", permissions: "mrw" }],
      mounts: [{ containerPath: "/vol", hostPath: join(scratch, "pod/volume") }],
    });
    await node.untilOutput(pod, READY, BOOT_MS);
    const { pid, consoleLog } = await machineOf(node, pod);
    const cgroup = await PeerCgroup.beside(pid);
    const pairs = await besideBare(
      {
        image: await debianGuestDisk(),
        seed: join(node.stateDir, "pods", basename(dirname(consoleLog)), "seed.iso"),
        memoryBytes: MEMORY_MIB * 2 ** 20,
        ...{ console: "serial" as const, cgroup, disks: bareDisks(scratch, ofBare) },
      },
      (bare) => compareFio({ pod: podRunner(node, pod), bare }, TARGETS, ROUNDS),
    );
    await cgroup.remove();
    await node.remove(pod);
    const figures = fioFigures("vm-disk", pairs, { atLeast: TARGET_RATIO });
    return { figures, samples: fioSamples(pairs), notes: NOTES };
  } finally {
    await node.stop();
    for (const device of devices) await runCommand("losetup", ["--detach", device]);
    await rm(scratch, { recursive: true });
  }
}

/** A device, and a volume with a raw file, both written once: the first write of a sparse file is another measure. */
async function makeDisks(dir: string): Promise<string> {
  await mkdir(join(dir, "volume"), { recursive: true });
  for (const file of [join(dir, "device.img"), join(dir, "volume/disk.img")]) {
    await writeFile(file, Buffer.alloc(2 ** 20, 1));
    await truncate(file, DISK_MIB * 2 ** 20);
    const argv = ["if=/dev/zero", `of=${file}`, "bs=1M", `count=${DISK_MIB}`, "status=none"];
    await runCommand("dd", argv);
  }
  return (await runCommand("losetup", ["--find", "--show", join(dir, "device.img")])).trim();
}

/** As a pod's of the same annotation. */
function bareDisks(scratch: string, device: string): DiskSpec[] {
  const common = { bus: "virtio", format: "raw", readOnly: false } as const;
  return [
    { ...common, name: "block", path: device, source: "block-device" },
    { ...common, name: "file", path: join(scratch, "bare/volume/disk.img") },
  ];
}

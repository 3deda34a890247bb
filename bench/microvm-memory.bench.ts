// What an idle microvm pod holds of the host's memory, by part.
import { readFile } from "node:fs/promises";
import { MACHINE_OVERHEAD_BYTES, overheadOf } from "@trine/engine";
import { busyboxImage } from "@trine/testkit";
import type { RunningPod, TestImage, TrineNode } from "@trine/testkit";
import { median } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { childrenOf, pssBytes } from "./host.ts";
import { summaryOf } from "./machine-pods.ts";
import { MICROVM, nodeOf, requireOrigin, untilReady } from "./microvm-pods.ts";
import type { Origin } from "./microvm-pods.ts";

const PODS = 10;
/** Of each origin whose overhead is measured beside the clones'. */
const OTHERS = 2;
const MIB = 2 ** 20;
const TARGET_GUEST_MIB = 20;
const TARGET_OTHERS_MIB = 3;
const WORK_SECONDS = 100n;
const VMM = "qemu-system-x86";
/** Programs of busybox begin for a while, so that the guest runs code of all kinds and its VMM translates it. */
const WORK = `end=$(($(date +%s) + 20))
for each in $(busybox --list); do [ $(date +%s) -lt $end ] && busybox $each --help; done >/dev/null 2>&1; true`;

/** Bytes of one pod. */
interface PodMemory {
  readonly vmm: number;
  /** Pages of the template's memory that this clone has written. */
  readonly guest: number;
  /** The shim and its other children. */
  readonly others: number;
}

export async function run(): Promise<BenchResult> {
  const image = await busyboxImage();
  const clones = await withPods("clone", PODS, image, async (node, pods) => {
    const idle = await Promise.all(pods.map((pod) => memoryOf(node, pod)));
    return { idle, overheads: await overheadsOf(node, pods.slice(0, OTHERS)) };
  });
  const overheads: Record<Origin, readonly number[]> = {
    clone: clones.overheads,
    cold: await withPods("cold", OTHERS, image, overheadsOf),
    spare: await withPods("spare", OTHERS, image, overheadsOf),
  };
  return {
    figures: [...figuresOf(clones.idle), ...overheadFigures(overheads)],
    samples: {
      ...samplesOf(clones.idle),
      ...Object.fromEntries(
        Object.entries(overheads).map(([origin, bytes]) => [`overhead-${origin}-bytes`, bytes]),
      ),
    },
    notes: NOTES,
  };
}

/** What `look` says of so many pods that came up in this way and do nothing. */
async function withPods<T>(
  origin: Origin,
  count: number,
  image: TestImage,
  look: (node: TrineNode, pods: readonly RunningPod[]) => Promise<T>,
): Promise<T> {
  const node = await nodeOf(origin);
  try {
    await node.containerd.importImage(image);
    const pods: RunningPod[] = [];
    for (let index = 0; index < count; index++) {
      await untilReady(node, origin);
      const command = ["sleep", "100000"];
      const name = `idle${index}`;
      const pod = await node.run({ name, image: image.name, handler: MICROVM, command });
      await requireOrigin(node, pod, origin);
      pods.push(pod);
    }
    return await look(node, pods);
  } finally {
    await node.stop();
  }
}

/** Bytes that each pod costs beyond its guest's memory once it has worked. */
async function overheadsOf(node: TrineNode, pods: readonly RunningPod[]): Promise<number[]> {
  const overheads: number[] = [];
  for (const pod of pods) {
    const { containerId } = pod;
    const cmd = ["sh", "-c", WORK];
    await node.containerd.cri.runtime.execSync({ containerId, cmd, timeout: WORK_SECONDS });
    const { machine, shim } = await summaryOf(node, pod);
    const children = (await childrenOf(shim.pid)).map(({ pid }) => pid);
    const guest = machine?.firstMemoryBytes ?? machine?.memoryBytes ?? Number.NaN;
    overheads.push(await overheadOf([shim.pid, ...children], guest));
  }
  return overheads;
}

const NOTES = [
  `${PODS} idle pods of one container (sleep), clones of one template; proportional set sizes, medians over the pods. guest: ` +
    "the private part of the mapping of the template's memory in the VMM; others: the shim and its other children.",
  `overhead: all processes of a pod less the guest's memory, after programs of busybox have run in it for 20 seconds, the most of ${OTHERS} pods; ` +
    "its target is what trined and the RuntimeClass count with (deploy/overhead.json).",
];

async function memoryOf(node: TrineNode, pod: RunningPod): Promise<PodMemory> {
  const { machine, shim } = await summaryOf(node, pod);
  const vmmPid = machine?.pid ?? Number.NaN;
  const children = await childrenOf(shim.pid);
  const helpers = children.filter(({ name }) => name !== VMM).map(({ pid }) => pssBytes(pid));
  const others = [await pssBytes(shim.pid), ...(await Promise.all(helpers))];
  return {
    vmm: await pssBytes(vmmPid),
    guest: await privateOf(vmmPid),
    others: others.reduce((sum, bytes) => sum + bytes, 0),
  };
}

/** Private pages of a process's mapping of the template's memory (proc(5), smaps), bytes. */
async function privateOf(pid: number): Promise<number> {
  const mappings = (await readFile(`/proc/${pid}/smaps`, "utf8")).split(
    /^(?=[0-9a-f]+-[0-9a-f]+ )/m,
  );
  const guest = mappings.filter((mapping) => /^\S+ \S+ \S+ \S+ \S+ +\/memfd:/.test(mapping));
  const dirty = guest.map((mapping) =>
    Number(/^Private_Dirty:\s+(\d+) kB/m.exec(mapping)?.[1] ?? 0),
  );
  return dirty.reduce((sum, kib) => sum + kib * 1024, 0);
}

function figuresOf(taken: readonly PodMemory[]): Figure[] {
  const mib = (part: keyof PodMemory): number => median(taken.map((pod) => pod[part])) / MIB;
  return [
    { name: "microvm-memory.vmm", value: mib("vmm"), unit: "MiB PSS a pod" },
    {
      name: "microvm-memory.guest-private",
      value: mib("guest"),
      unit: "MiB a pod",
      target: { atMost: TARGET_GUEST_MIB },
    },
    {
      name: "microvm-memory.others",
      value: mib("others"),
      unit: "MiB PSS a pod",
      target: { atMost: TARGET_OTHERS_MIB },
    },
  ];
}

/** The most that a pod has cost: its group's limit must hold that. */
function overheadFigures(overheads: Readonly<Record<Origin, readonly number[]>>): Figure[] {
  return Object.entries(overheads).map(([origin, bytes]) => ({
    name: `microvm-memory.overhead-${origin}`,
    value: Math.max(...bytes) / MIB,
    unit: "MiB a pod",
    target: { atMost: MACHINE_OVERHEAD_BYTES / MIB },
  }));
}

function samplesOf(taken: readonly PodMemory[]): Record<string, number[]> {
  return {
    "vmm-bytes": taken.map(({ vmm }) => vmm),
    "guest-bytes": taken.map(({ guest }) => guest),
    "others-bytes": taken.map(({ others }) => others),
  };
}

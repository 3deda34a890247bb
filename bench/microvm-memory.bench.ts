// What an idle microvm pod holds of the host's memory, by part.
import { readFile } from "node:fs/promises";
import { busyboxImage } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { median } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { childrenOf, pssBytes } from "./host.ts";
import { summaryOf } from "./machine-pods.ts";
import { MICROVM, nodeOf, requireOrigin } from "./microvm-pods.ts";

const PODS = 10;
const MIB = 2 ** 20;
const TARGET_GUEST_MIB = 20;
const TARGET_OTHERS_MIB = 3;
const VMM = "qemu-system-x86";

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
  const node = await nodeOf("clone");
  try {
    await node.containerd.importImage(image);
    const pods: RunningPod[] = [];
    for (let index = 0; index < PODS; index++) {
      const command = ["sleep", "100000"];
      const pod = await node.run({
        name: `idle${index}`,
        image: image.name,
        handler: MICROVM,
        command,
      });
      await requireOrigin(node, pod, "clone");
      pods.push(pod);
    }
    const taken = await Promise.all(pods.map((pod) => memoryOf(node, pod)));
    return { figures: figuresOf(taken), samples: samplesOf(taken), notes: NOTES };
  } finally {
    await node.stop();
  }
}

const NOTES = [
  `${PODS} idle pods of one container (sleep), clones of one template; proportional set sizes, medians over the pods. guest: ` +
    "the private part of the mapping of the template's memory in the VMM; others: the shim and its other children.",
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

function samplesOf(taken: readonly PodMemory[]): Record<string, number[]> {
  return {
    "vmm-bytes": taken.map(({ vmm }) => vmm),
    "guest-bytes": taken.map(({ guest }) => guest),
    "others-bytes": taken.map(({ others }) => others),
  };
}

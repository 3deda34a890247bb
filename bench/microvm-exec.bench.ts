// Programs started and bytes moved in a running microvm pod, beside the same pod under runc.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { openRemoteCommand } from "@trine/containerd-client";
import { busyboxImage } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { median } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { namesIn } from "./host.ts";
import { MICROVM, RUNC, nodeOf } from "./microvm-pods.ts";
import { writeTinyProgram } from "./tiny-program.ts";

const EXECS = 30;
const ROUNDS = 5;
const OUTPUT_MIB = 256;
const TARGET_EXEC = 1.5;
const TIMEOUT_S = 600;

/** Shell lines that print nothing; `$D` is the directory that is measured. */
const WORK: Readonly<Record<string, string>> = {
  "write-32M": "dd if=/dev/zero of=$D/big bs=1M count=32 conv=fsync 2>/dev/null",
  "read-32M": "cat $D/big > /dev/null",
  "files-200":
    "mkdir $D/m && i=0; while [ $i -lt 200 ]; do echo x > $D/m/$i; i=$((i+1)); done; ls -l $D/m > /dev/null; rm -r $D/m",
};
const PLACES: Readonly<Record<string, string>> = { rootfs: "/root", volume: "/volume" };

interface Pair {
  readonly microvm: RunningPod;
  readonly runc: RunningPod;
}

interface Comparison {
  readonly name: string;
  readonly rounds: number;
  readonly atMost?: number;
}

export async function run(): Promise<BenchResult> {
  const busybox = await busyboxImage();
  const node = await nodeOf("clone");
  const volumes = await mkdtemp(join(tmpdir(), "trine-bench-volume-"));
  const samples: Record<string, number[]> = {};
  try {
    await node.containerd.importImage(busybox);
    await untilOnDisk(node, busybox.name);
    const pair = await startPair(node, busybox.name, volumes);
    const figures: Figure[] = [];
    const tiny = { name: "microvm-exec.tiny", rounds: EXECS, atMost: TARGET_EXEC };
    figures.push(
      ...(await compare(tiny, pair, (pod) => execMs(node, pod, ["/root/tiny"]), samples)),
    );
    const stdout = { name: "microvm-exec.stdout", rounds: ROUNDS };
    figures.push(...(await compare(stdout, pair, (pod) => outputMs(node, pod), samples)));
    for (const [place, dir] of Object.entries(PLACES)) {
      for (const [what, script] of Object.entries(WORK)) {
        const work = { name: `microvm-exec.${place}.${what}`, rounds: ROUNDS };
        const command = ["sh", "-c", `D=${dir}; ${script}`];
        figures.push(...(await compare(work, pair, (pod) => execMs(node, pod, command), samples)));
      }
    }
    return { figures, samples, notes: NOTES };
  } finally {
    await node.stop();
    await rm(volumes, { recursive: true, force: true });
  }
}

const NOTES = [
  "Ratio: microvm over runc of each round, their median; in turns in two running pods of one containerd. exec: ExecSync of " +
    `a static program of two system calls. stdout: ${OUTPUT_MIB} MiB of zeroes through exec's streaming. rootfs: the container's own ` +
    "root; volume: a directory of the host. The guest's processor is emulated, runc's is not.",
];

async function startPair(node: TrineNode, image: string, volumes: string): Promise<Pair> {
  const start = async (name: string, handler: string): Promise<RunningPod> => {
    const hostPath = await mkdtemp(join(volumes, `${name}-`));
    await writeTinyProgram(join(hostPath, "tiny"));
    const mounts = [{ containerPath: "/volume", hostPath }];
    const command = ["sleep", "100000"];
    const pod = await node.run({ name, image, handler, command, mounts });
    await execMs(node, pod, ["cp", "/volume/tiny", "/root/tiny"]);
    return pod;
  };
  return { microvm: await start("microvm", MICROVM), runc: await start("runc", RUNC) };
}

/** The first pod of an image makes the file that the roots of the next ones are. */
async function untilOnDisk(node: TrineNode, image: string): Promise<void> {
  const first = await node.run({ name: "first", image, handler: MICROVM, command: ["true"] });
  await pollUntil("the image's file", { ms: 120_000 }, async () => {
    const names = await namesIn(join(node.rootDir, "roots"));
    return names.some((name) => name.endsWith(".erofs")) ? true : undefined;
  });
  await node.remove(first);
}

async function execMs(
  node: TrineNode,
  { containerId }: RunningPod,
  cmd: readonly string[],
): Promise<number> {
  const started = performance.now();
  const timeout = BigInt(TIMEOUT_S);
  const { runtime } = node.containerd.cri;
  const answer = await runtime.execSync({ containerId, cmd: [...cmd], timeout });
  if (answer.exitCode !== 0) {
    const said = Buffer.from(answer.stderr).toString();
    throw new TrineError("internal", `${cmd.join(" ")} ended with ${answer.exitCode}: ${said}`);
  }
  return performance.now() - started;
}

async function outputMs(node: TrineNode, { containerId }: RunningPod): Promise<number> {
  const started = performance.now();
  const cmd = ["head", "-c", `${OUTPUT_MIB}m`, "/dev/zero"];
  const { runtime } = node.containerd.cri;
  const { url } = await runtime.exec({ containerId, cmd, stdout: true });
  const command = await openRemoteCommand(url, { stdout: true });
  let size = 0;
  for await (const chunk of command.stdout as AsyncIterable<Uint8Array>) size += chunk.length;
  if ((await command.exit) !== 0 || size !== OUTPUT_MIB * 2 ** 20) {
    throw new TrineError("internal", `${size} bytes of ${OUTPUT_MIB} MiB came`);
  }
  command.close();
  return performance.now() - started;
}

/** In turns; each first once without being counted. */
async function compare(
  { name, rounds, atMost }: Comparison,
  pair: Pair,
  once: (pod: RunningPod) => Promise<number>,
  samples: Record<string, number[]>,
): Promise<Figure[]> {
  const taken = { microvm: [] as number[], runc: [] as number[] };
  const turns = (["microvm", "runc"] as const).map((level) => async (): Promise<void> => {
    taken[level].push(await once(pair[level]));
  });
  for (const turn of turns) await turn();
  for (const values of Object.values(taken)) values.length = 0;
  for (let round = 0; round < rounds; round++) {
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  samples[`${name}.microvm-ms`] = taken.microvm;
  samples[`${name}.runc-ms`] = taken.runc;
  const ratios = taken.microvm.map((ms, round) => ms / (taken.runc[round] ?? Number.NaN));
  return [
    {
      name: `${name}.ratio`,
      value: median(ratios),
      unit: "times runc",
      ...(atMost === undefined ? {} : { target: { atMost } }),
    },
    { name: `${name}.microvm-p50`, value: median(taken.microvm), unit: "ms" },
    { name: `${name}.runc-p50`, value: median(taken.runc), unit: "ms" },
  ];
}

// fio in a guest: of a pod, or of the same machine run straight.
import { TrineError, pollUntil } from "@trine/base";
import { GuestAgent } from "@trine/guest-link";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { GUEST_AGENT_CHANNEL } from "@trine/vmm";
import { startBareMachine } from "./bare-machine.ts";
import type { BareMachine, BareOptions } from "./bare-machine.ts";
import { median } from "./figure.ts";
import type { Figure } from "./figure.ts";

const SECONDS = 2;
const EXEC_MS = 120_000;
const AGENT_MS = 300_000;

/** Runs a program in a guest and answers what it printed. */
export type RunInGuest = (argv: readonly string[]) => Promise<string>;

interface FioJob {
  readonly name: string;
  readonly rw: "read" | "write" | "randread" | "randwrite";
  readonly blockSize: string;
  readonly depth: number;
}

/** Sequential in bytes a second, random in operations a second. */
const FIO_JOBS: readonly FioJob[] = [
  { name: "seq-read", rw: "read", blockSize: "1M", depth: 4 },
  { name: "seq-write", rw: "write", blockSize: "1M", depth: 4 },
  { name: "rand-read", rw: "randread", blockSize: "4k", depth: 16 },
  { name: "rand-write", rw: "randwrite", blockSize: "4k", depth: 16 },
];

export function podRunner(node: TrineNode, { containerId }: RunningPod): RunInGuest {
  return async (argv) => {
    const answer = await node.containerd.cri.runtime.execSync(
      { containerId, cmd: [...argv], timeout: BigInt(EXEC_MS / 1000) },
      { timeoutMs: EXEC_MS + 10_000 },
    );
    const text = Buffer.from(answer.stdout).toString();
    if (answer.exitCode === 0) return text;
    throw failed(argv, answer.exitCode, Buffer.from(answer.stderr).toString());
  };
}

/** Starts the peer, and gives what runs programs in its guest to `measure`. */
export async function besideBare<T>(
  options: BareOptions,
  measure: (bare: RunInGuest) => Promise<T>,
): Promise<T> {
  await using bare = await startBareMachine(options);
  const over = new AbortController();
  try {
    return await measure(await bareRunner(bare, over.signal));
  } finally {
    over.abort();
  }
}

/** Waits until the guest's agent answers. `signal` ends what reads its channel. */
export async function bareRunner(bare: BareMachine, signal: AbortSignal): Promise<RunInGuest> {
  const agent = new GuestAgent(bare.host.channel(GUEST_AGENT_CHANNEL), { signal });
  await pollUntil("the bare guest's agent answers", { ms: AGENT_MS, everyMs: 500 }, () =>
    agent.sync().then(
      () => true,
      () => undefined,
    ),
  );
  return async ([path = "", ...args]) => {
    const { pid } = await agent.exec({ path, args, env: [], captureOutput: true });
    const wait = { ms: EXEC_MS, everyMs: 100 };
    const end = await pollUntil(`${path} ends`, wait, async () => {
      const status = await agent.execStatus(pid);
      return status.exited ? status : undefined;
    });
    if (end.exitCode === 0) return Buffer.from(end.stdout).toString();
    throw failed([path, ...args], end.exitCode, Buffer.from(end.stderr).toString());
  };
}

/** One run on a file or device of the guest. */
async function fio(
  run: RunInGuest,
  job: FioJob,
  target: { readonly file: string; readonly sizeMiB: number },
): Promise<number> {
  const { rw, blockSize, depth, name } = job;
  const text = await run([
    ...["fio", `--name=${name}`, `--filename=${target.file}`, `--size=${target.sizeMiB}M`],
    ...[`--rw=${rw}`, `--bs=${blockSize}`, `--iodepth=${depth}`, "--ioengine=libaio", "--direct=1"],
    ...["--time_based", `--runtime=${SECONDS}`, "--output-format=json"],
  ]);
  const { jobs } = JSON.parse(text.slice(text.indexOf("{"))) as {
    jobs: Record<"read" | "write", { bw_bytes: number; iops: number }>[];
  };
  const side = jobs[0]?.[rw.endsWith("read") ? "read" : "write"];
  const value = rw.startsWith("rand") ? side?.iops : side?.bw_bytes;
  if (value === undefined || value <= 0) throw new TrineError("internal", `fio ${name}: ${text}`);
  return value;
}

/** Both sides of one job on one target, a value of each a round. */
interface FioPair {
  readonly name: string;
  readonly pod: number[];
  readonly bare: number[];
}

/** All jobs on all targets in turns, as often one side first as the other. */
export async function compareFio(
  sides: { readonly pod: RunInGuest; readonly bare: RunInGuest },
  targets: readonly { readonly name: string; readonly file: string; readonly sizeMiB: number }[],
  rounds: number,
): Promise<FioPair[]> {
  const pairs: FioPair[] = [];
  for (const target of targets) {
    for (const job of FIO_JOBS) {
      const pair: FioPair = { name: `${target.name}.${job.name}`, pod: [], bare: [] };
      for (let round = 0; round < rounds; round++) {
        const order = round % 2 === 0 ? (["pod", "bare"] as const) : (["bare", "pod"] as const);
        for (const side of order) pair[side].push(await fio(sides[side], job, target));
      }
      pairs.push(pair);
    }
  }
  return pairs;
}

/** A ratio for each pair, of its rounds' median, and what the pod did. */
export function fioFigures(
  bench: string,
  pairs: readonly FioPair[],
  target?: { readonly atLeast: number },
): Figure[] {
  return pairs.flatMap(({ name, pod, bare }) => {
    const ratios = pod.map((value, round) => value / (bare[round] ?? Number.NaN));
    const isRandom = name.includes("rand");
    return [
      {
        ...{ name: `${bench}.${name}`, value: median(ratios), unit: "times bare QEMU" },
        ...(target === undefined ? {} : { target }),
      },
      {
        name: `${bench}.${name}-pod`,
        value: isRandom ? median(pod) : median(pod) / 2 ** 20,
        unit: isRandom ? "operations/s" : "MiB/s",
      },
    ];
  });
}

export function fioSamples(pairs: readonly FioPair[]): Record<string, readonly number[]> {
  return Object.fromEntries(
    pairs.flatMap(({ name, pod, bare }) => [
      [`${name}-pod`, pod],
      [`${name}-bare`, bare],
    ]),
  );
}

function failed(argv: readonly string[], code: number | undefined, words: string): TrineError {
  return new TrineError(
    "internal",
    `${argv.join(" ")}: ended with ${code ?? "a signal"}: ${words}`,
  );
}

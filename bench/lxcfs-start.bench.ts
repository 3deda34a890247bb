// A container's creation and start with views of its own limits and without, in turns, in one pod.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { Views, nriViews } from "@trine/lxcfs";
import { keepPlugin } from "@trine/nri";
import { NamespaceMode } from "@trine/proto/cri/api";
import { DIST, busyboxImage, runCommand, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { median } from "./figure.ts";
import type { BenchResult } from "./figure.ts";

const ROUNDS = 30;
const TARGET_MS = 2;
const WAIT_MS = 60_000;
const MIB = 1024n * 1024n;
const LOG = { info: () => undefined, warn: () => undefined };
/** Whether its annotation wants views. */
const WAYS = ["off", "on"] as const;
type Way = (typeof WAYS)[number];

export async function run(): Promise<BenchResult> {
  const dir = await mkdtemp(join(tmpdir(), "trine-bl-"));
  const containerd = await startContainerd({ version: "2.4", dir: join(dir, "c"), nri: true });
  await containerd.importImage(await busyboxImage());
  const lxcfs = await startLxcfs(dir);
  const views = new Views({
    ...{ dir: join(dir, "fs"), pidFile: join(dir, "pid"), helper: join(DIST, "bin/trine-rootfs") },
    rules: { handlers: ["", "runc"], byDefault: "off", isMachine: () => false },
    log: LOG,
  });
  const plugin = keepPlugin(nriViews(views), {
    socket: join(containerd.dir, "nri.sock"),
    log: LOG,
  });
  try {
    await pollUntil("NRI is connected and lxcfs serves", { ms: WAIT_MS }, () =>
      plugin.notConnected() === undefined && views.state().up ? true : undefined,
    );
    return resultOf(await measure(containerd, views));
  } finally {
    await plugin.stop();
    await views.stop();
    lxcfs.kill("SIGKILL");
    await once(lxcfs, "exit");
    await containerd.stop();
    await runCommand("umount", ["--lazy", join(dir, "fs")]);
    await rm(dir, { recursive: true });
  }
}

async function startLxcfs(dir: string): Promise<ChildProcess> {
  await mkdir(join(dir, "fs"));
  const args = ["-f", "-l", "--enable-cfs", "-p", join(dir, "pid"), join(dir, "fs")];
  return spawn("setpriv", ["--pdeathsig", "KILL", "lxcfs", ...args], { stdio: "ignore" });
}

async function measure(containerd: Containerd, views: Views): Promise<Record<Way, number[]>> {
  const samples: Record<Way, number[]> = { off: [], on: [] };
  const pods = { off: await makePod(containerd, "off"), on: await makePod(containerd, "on") };
  for (let round = -1; round < ROUNDS; round += 1) {
    // Who is first changes: the one after finds the host busy with the removal before.
    for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
      const { ms, id } = await startOne(containerd, pods[way], round + 1);
      if (views.state().containers !== (way === "on" ? 1 : 0)) {
        throw new Error(`a container that wants views ${way} has not what it wants`);
      }
      await containerd.cri.runtime.removeContainer({ containerId: id });
      if (round >= 0) samples[way].push(ms);
    }
  }
  return samples;
}

interface Pod {
  readonly podSandboxId: string;
  readonly sandboxConfig: ReturnType<Containerd["podConfig"]>;
}

async function makePod(containerd: Containerd, way: Way): Promise<Pod> {
  const annotations = { "trine.dev/lxcfs": way };
  const sandboxConfig = containerd.podConfig({ name: `views-${way}`, annotations });
  await mkdir(sandboxConfig.logDirectory, { recursive: true });
  const { podSandboxId } = await containerd.cri.runtime.runPodSandbox({ config: sandboxConfig });
  return { podSandboxId, sandboxConfig };
}

async function startOne(
  { cri: { runtime } }: Containerd,
  { podSandboxId, sandboxConfig }: Pod,
  attempt: number,
): Promise<{ ms: number; id: string }> {
  const config = {
    metadata: { name: "main", attempt },
    image: { image: "trine.test/busybox:1" },
    command: ["sleep", "1000000"],
    linux: {
      resources: { memoryLimitInBytes: 192n * MIB },
      // As kubelet asks for it: lxcfs tells containers apart by it.
      securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
    },
  };
  const begun = performance.now();
  const { containerId } = await runtime.createContainer({ podSandboxId, sandboxConfig, config });
  await runtime.startContainer({ containerId });
  return { ms: performance.now() - begun, id: containerId };
}

function resultOf(samples: Record<Way, number[]>): BenchResult {
  const [without, withViews] = [median(samples.off), median(samples.on)];
  const added = { name: "lxcfs-start added p50", value: withViews - without, unit: "ms" };
  return {
    figures: [
      { name: "lxcfs-start without p50", value: without, unit: "ms" },
      { name: "lxcfs-start with p50", value: withViews, unit: "ms" },
      { ...added, target: { atMost: TARGET_MS } },
    ],
    samples: { "without-ms": samples.off, "with-ms": samples.on },
    notes: [
      `lxcfs-start: CreateContainer and StartContainer, ${ROUNDS} times each way in turns, on containerd 2.4 with NRI and runc; both ways our plugin is asked.`,
    ],
  };
}

// Containers see their own limits by a real lxcfs, which NRI of a real containerd lets us mount; and see them again
// when it was killed.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { Views } from "@trine/lxcfs";
import { keepPlugin } from "@trine/nri";
import type { KeptPlugin } from "@trine/nri";
import { NamespaceMode } from "@trine/proto/cri/api";
import { DIST, busyboxImage, runCommand, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";

const EVENT_MS = 30_000;
const MIB = 1024 * 1024;
const UNIT = join(import.meta.dirname, "../deploy/systemd/trine-lxcfs.service");
const LOG = { info: () => undefined, warn: () => undefined };

let dir: string;
let containerd: Containerd;
let views: Views;
let plugin: KeptPlugin;
let lxcfs: ChildProcess | undefined;

/** As the unit starts it, in a directory of the test's own. */
async function startLxcfs(): Promise<void> {
  const unit = (await readFile(UNIT, "utf8")).replaceAll("/run/trine-lxcfs", join(dir, "l"));
  const command = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  await mkdir(join(dir, "l/fs"), { recursive: true }).catch(() => undefined); // a dead mount answers an error
  await runCommand("umount", ["--lazy", join(dir, "l/fs")]).catch(() => undefined); // there may be none
  const [program = "", ...args] = command;
  lxcfs = spawn("setpriv", ["--pdeathsig", "KILL", program, ...args], { stdio: "ignore" });
}

async function killLxcfs(): Promise<void> {
  const child = lxcfs;
  lxcfs = undefined;
  if (child === undefined) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-l-"));
  containerd = await startContainerd({ version: "2.4", dir: join(dir, "c"), nri: true });
  await containerd.importImage(await busyboxImage());
  views = new Views({
    dir: join(dir, "l/fs"),
    pidFile: join(dir, "l/pid"),
    helper: join(DIST, "bin/trine-rootfs"),
    rules: { handlers: ["", "runc"], byDefault: "on", isMachine: () => false },
    log: LOG,
  });
  plugin = keepPlugin(views, { socket: join(containerd.dir, "nri.sock"), log: LOG });
  await pollUntil("NRI is connected", { ms: EVENT_MS }, () =>
    plugin.notConnected() === undefined ? true : undefined,
  );
}, 300_000);

afterAll(async () => {
  await plugin.stop();
  await views.stop();
  await killLxcfs();
  const left = await containerd.stop();
  await runCommand("umount", ["--lazy", join(dir, "l/fs")]).catch(() => undefined); // there may be none
  await rm(dir, { recursive: true });
  expect(left).toEqual([]);
}, 120_000);

interface RunOptions {
  readonly name: string;
  readonly annotations?: Record<string, string>;
  readonly limited?: boolean;
}

/** A container with the host's programs in it, and 1 CPU and 192 MiB. */
async function run({ name, annotations = {}, limited = true }: RunOptions): Promise<string> {
  const { runtime } = containerd.cri;
  const config = containerd.podConfig({ name, annotations });
  await mkdir(config.logDirectory, { recursive: true });
  const { podSandboxId } = await runtime.runPodSandbox({ config });
  const binds = ["/usr", "/lib", "/lib64", process.execPath].map((hostPath) => ({
    hostPath,
    containerPath: hostPath === process.execPath ? "/node" : hostPath,
    readonly: true,
  }));
  const { containerId } = await runtime.createContainer({
    podSandboxId,
    sandboxConfig: config,
    config: {
      metadata: { name: "main", attempt: 0 },
      image: { image: "trine.test/busybox:1" },
      command: ["sleep", "1000000"],
      logPath: "main.log",
      mounts: binds,
      linux: {
        resources: limited ? limits(1, 192) : {},
        securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } }, // as kubelet asks
      },
    },
  });
  await runtime.startContainer({ containerId });
  return containerId;
}

function limits(
  cpus: number,
  mib: number,
): { cpuPeriod: bigint; cpuQuota: bigint; memoryLimitInBytes: bigint } {
  return {
    cpuPeriod: 100_000n,
    cpuQuota: BigInt(cpus * 100_000),
    memoryLimitInBytes: BigInt(mib * MIB),
  };
}

async function exec(containerId: string, ...cmd: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await containerd.cri.runtime.execSync({
    ...{ containerId, cmd, timeout: 60n },
  });
  const [out, err] = [stdout, stderr].map((each) => Buffer.from(each).toString());
  return exitCode === 0 ? (out ?? "") : `ended with ${exitCode}: ${out ?? ""}${err ?? ""}`;
}

/** MemTotal in MiB, as the container reads it. */
async function totalMib(containerId: string): Promise<number> {
  const text = await exec(containerId, "cat", "/proc/meminfo");
  return Number(/^MemTotal:\s+(\d+) kB$/m.exec(text)?.[1] ?? Number.NaN) / 1024;
}

function untilViews(state: Partial<ReturnType<Views["state"]>>): Promise<true> {
  return pollUntil(`views are ${JSON.stringify(state)}`, { ms: EVENT_MS }, () => {
    const now: Record<string, unknown> = { ...views.state() };
    return Object.entries(state).every(([key, value]) => now[key] === value) ? true : undefined;
  });
}

test("where lxcfs is away a pod starts, and has its views as soon as lxcfs is there", async () => {
  const early = await run({ name: "early" });
  expect(await totalMib(early)).toBeGreaterThan(192);
  expect(views.state()).toMatchObject({ up: false, missed: 1, containers: 0 });
  await startLxcfs();
  await untilViews({ up: true, containers: 1 });
  expect(await totalMib(early)).toBe(192);
});

test("programs agree with the limit, on which lxcfs was killed and came back too, and with a new one", async () => {
  const before = performance.now();
  const container = await run({ name: "limited" });
  const agrees = async (): Promise<void> => {
    expect(await exec(container, "/usr/bin/free", "-m")).toMatch(/^Mem:\s+192 /m);
    expect(await exec(container, "/usr/bin/top", "-b", "-n", "1")).toMatch(/MiB Mem :\s+192\.0 /);
    expect(await exec(container, "/usr/bin/getconf", "_NPROCESSORS_ONLN")).toBe("1\n");
    expect(await exec(container, "/node", "-p", "os.cpus().length")).toBe("1\n");
    // Of the container: it is as old as this test at most, the node is older. A second for what is rounded.
    const [up = ""] = (await exec(container, "cat", "/proc/uptime")).split(" ");
    expect(Number(up)).toBeLessThan((performance.now() - before) / 1000 + 1);
    expect(await exec(container, "/usr/bin/uptime", "-p")).toMatch(/^up \d minute/);
    expect(await exec(container, "cat", "/sys/devices/system/cpu/online")).toBe("0\n");
    expect(await exec(container, "grep", "-c", "^cpu[0-9]", "/proc/stat")).toBe("1\n");
  };
  await agrees();

  await killLxcfs();
  await untilViews({ up: false });
  expect(await exec(container, "cat", "/proc/meminfo")).toMatch(/not connected/);
  await startLxcfs();
  await untilViews({ up: true, stale: 0 });
  await agrees();
  const tops = await exec(container, "grep", "-c", "fuse.lxcfs", "/proc/self/mountinfo");
  expect(Number(tops)).toBe(8); // what was dead is gone

  await containerd.cri.runtime.updateContainerResources({
    containerId: container,
    linux: limits(2, 256),
  });
  expect(await totalMib(container)).toBe(256);
  expect(await exec(container, "/usr/bin/getconf", "_NPROCESSORS_ONLN")).toBe("2\n");
});

test("who asked for none or has no limit sees the node", async () => {
  const node = await exec(await run({ name: "unlimited", limited: false }), "cat", "/proc/meminfo");
  const total = /MemTotal:.*/.exec(node)?.[0] ?? "none";
  for (const key of ["trine.dev/lxcfs", "trine.dev/lxcfs.main"]) {
    const container = await run({
      name: key.replaceAll(/\W/g, "-"),
      annotations: { [key]: "off" },
    });
    expect(await exec(container, "cat", "/proc/meminfo")).toContain(total);
  }
});

test("containers that were made while trined was away have their views when it is back", async () => {
  await plugin.stop();
  const missed = await run({ name: "missed" });
  expect(await totalMib(missed)).toBeGreaterThan(256);
  plugin = keepPlugin(views, { socket: join(containerd.dir, "nri.sock"), log: LOG });
  await pollUntil("the views are there", { ms: EVENT_MS }, async () =>
    (await totalMib(missed)) === 192 ? true : undefined,
  );
});

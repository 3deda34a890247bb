// Containers see their own limits by a real lxcfs, which NRI of a real containerd lets us mount; and see them again
// when it was killed.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { Views, nriViews } from "@trine/lxcfs";
import { keepPlugin } from "@trine/nri";
import type { KeptPlugin } from "@trine/nri";
import { DIST, busyboxImage, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  RealLxcfs,
  exec as execIn,
  limits,
  runLimited,
  totalMib as totalMibIn,
} from "./lxcfs-under-test.ts";
import type { LimitedPod } from "./lxcfs-under-test.ts";

const EVENT_MS = 30_000;
const LOG = { info: () => undefined, warn: () => undefined };

let dir: string;
let containerd: Containerd;
let views: Views;
let plugin: KeptPlugin;
let lxcfs: RealLxcfs;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-l-"));
  lxcfs = new RealLxcfs(join(dir, "l"));
  containerd = await startContainerd({ version: "2.4", dir: join(dir, "c"), nri: true });
  await containerd.importImage(await busyboxImage());
  views = new Views({
    dir: lxcfs.mount,
    pidFile: lxcfs.pidFile,
    helper: join(DIST, "bin/trine-rootfs"),
    rules: { handlers: ["", "runc"], byDefault: "on", isMachine: () => false },
    log: LOG,
  });
  plugin = keepPlugin(nriViews(views), { socket: join(containerd.dir, "nri.sock"), log: LOG });
  await pollUntil("NRI is connected", { ms: EVENT_MS }, () =>
    plugin.notConnected() === undefined ? true : undefined,
  );
}, 300_000);

afterAll(async () => {
  await plugin.stop();
  await views.stop();
  await lxcfs.kill();
  const left = await containerd.stop();
  await lxcfs.unmount();
  await rm(dir, { recursive: true });
  expect(left).toEqual([]);
}, 120_000);

const run = (pod: LimitedPod): Promise<string> => runLimited(containerd.cri, containerd, pod);
const exec = (id: string, ...cmd: string[]): Promise<string> => execIn(containerd.cri, id, ...cmd);
const totalMib = (id: string): Promise<number> => totalMibIn(containerd.cri, id);

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
  await lxcfs.start();
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

  await lxcfs.kill();
  await untilViews({ up: false });
  expect(await exec(container, "cat", "/proc/meminfo")).toMatch(/not connected/);
  await lxcfs.start();
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
  plugin = keepPlugin(nriViews(views), { socket: join(containerd.dir, "nri.sock"), log: LOG });
  await pollUntil("the views are there", { ms: EVENT_MS }, async () =>
    (await totalMib(missed)) === 192 ? true : undefined,
  );
});

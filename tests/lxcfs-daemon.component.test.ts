// The whole daemon with the real lxcfs and two containerds behind one gateway: one with NRI, and one without, whose containers
// the gateway gives their views.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";
import { DIST, busyboxImage, startContainerd } from "@trine/testkit";
import type { Containerd } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RealLxcfs, exec, limits, runLimited, totalMib } from "./lxcfs-under-test.ts";
import type { LimitedPod } from "./lxcfs-under-test.ts";

const EVENT_MS = 60_000;

let dir: string;
let young: Containerd;
let old: Containerd;
let lxcfs: RealLxcfs;
let trined: ChildProcess | undefined;
let cri: CriClient;

/** Starts the daemon; ready when the gateway has read the lists of both. */
async function startTrined(): Promise<void> {
  await using log = await open(join(dir, "trined.log"), "a");
  const program = [process.execPath, join(DIST, "trined.mjs"), "--config", join(dir, "c.yaml")];
  trined = spawn("setpriv", ["--pdeathsig", "KILL", ...program], {
    stdio: ["ignore", log.fd, log.fd],
  });
  await pollUntil("trined is ready", { ms: EVENT_MS }, async () => {
    const answer = await get("/readyz").catch(() => undefined);
    return answer?.status === 200 || undefined;
  });
  cri = createCriClient(join(dir, "cri.sock"));
}

async function endTrined(signal: NodeJS.Signals): Promise<void> {
  const child = trined;
  trined = undefined;
  if (child === undefined) return;
  cri.close();
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

async function get(path: string): Promise<{ status: number; body: string }> {
  const sent = request({ socketPath: join(dir, "s/api.sock"), path });
  sent.end();
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, body: await text(answer) };
}

async function figures(): Promise<Record<string, unknown>> {
  const { items } = JSON.parse((await get("/v1/lxcfs")).body) as {
    items: [Record<string, unknown>];
  };
  return items[0];
}

function untilFigures(wanted: Record<string, unknown>): Promise<true> {
  return pollUntil(`figures are ${JSON.stringify(wanted)}`, { ms: EVENT_MS }, async () => {
    const now = await figures();
    return Object.entries(wanted).every(([key, value]) => now[key] === value) || undefined;
  });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tl-"));
  lxcfs = new RealLxcfs(join(dir, "l"));
  const image = await busyboxImage();
  young = await startContainerd({ version: "2.4", dir: join(dir, "y"), nri: true });
  old = await startContainerd({ version: "1.6", dir: join(dir, "o") });
  await Promise.all([young.importImage(image), old.importImage(image)]);
  await lxcfs.start();
  await writeFile(
    join(dir, "c.yaml"),
    `
apiVersion: config.trine.dev/v1alpha1
stateDir: ${dir}/s
rootDir: ${dir}/r
machines: { accelerator: tcg }
gateway:
  socket: ${dir}/cri.sock
  backEnds:
    - { name: young, socket: ${young.socket} }
    - { name: old, socket: ${old.socket}, lxcfs: true }
  rules: [{ handler: old, backEnd: old, useHandler: runc }]
lxcfs:
  enabled: true
  dir: ${lxcfs.mount}
  pidFile: ${lxcfs.pidFile}
  helper: ${join(DIST, "bin/trine-rootfs")}
  nri: ${young.dir}/nri.sock
  cpuset: { handlers: ["", runc], default: "off" }
`,
  );
  await startTrined();
  await untilFigures({ up: true, nri: true });
}, 300_000);

afterAll(async () => {
  await endTrined("SIGTERM");
  await lxcfs.kill();
  const left = [await young.stop(), await old.stop()];
  await lxcfs.unmount();
  await rm(dir, { recursive: true });
  expect(left).toEqual([[], []]);
}, 120_000);

const runYoung = (pod: LimitedPod): Promise<string> => runLimited(cri, young, pod);
const runOld = (pod: LimitedPod): Promise<string> =>
  runLimited(cri, old, { ...pod, handler: "old" });

/** What procps and libc make of it. */
async function cpusAndMib(id: string): Promise<[cpus: string, mib: string | undefined]> {
  const cpus = await exec(cri, id, "/usr/bin/getconf", "_NPROCESSORS_ONLN");
  const free = await exec(cri, id, "/usr/bin/free", "-m");
  return [cpus.trim(), /^Mem:\s+(\d+) /m.exec(free)?.[1]];
}

async function sweptTo(containers: number): Promise<void> {
  // As kubelet does each second: the gateway learns of ends by lists.
  await pollUntil(`${containers} containers have views`, { ms: EVENT_MS }, async () => {
    await cri.runtime.listContainers({});
    return (await figures())["containers"] === containers || undefined;
  });
}

test("by NRI or by the gateway containers see their limits, those that are changed too, again after lxcfs and the daemon were killed", async () => {
  const both = [await runYoung({ name: "young" }), await runOld({ name: "old" })];
  const [, ofOld = ""] = both;
  for (const id of both) expect(await cpusAndMib(id)).toEqual(["1", "192"]);
  const mounted = await exec(cri, ofOld, "grep", "-c", "fuse.lxcfs", "/proc/self/mountinfo");
  expect(Number(mounted)).toBe(8);
  expect((await old.cri.runtime.listContainers({})).containers).toHaveLength(1);
  expect(await figures()).toMatchObject({ containers: 2, missed: 0 });

  for (const containerId of both) {
    await cri.runtime.updateContainerResources({ containerId, linux: limits(2, 256) });
    expect(await cpusAndMib(containerId)).toEqual(["2", "256"]);
  }

  await lxcfs.kill();
  await untilFigures({ up: false, stale: 2 });
  expect(await exec(cri, ofOld, "cat", "/proc/meminfo")).toMatch(/not connected/);
  await lxcfs.start();
  await untilFigures({ up: true, stale: 0, containers: 2 });
  for (const id of both) expect(await cpusAndMib(id)).toEqual(["2", "256"]);

  // The next daemon finds them again, and which of them are dead.
  await endTrined("SIGKILL");
  await lxcfs.kill();
  await startTrined();
  await lxcfs.start();
  await untilFigures({ up: true, nri: true, stale: 0, containers: 2 });
  for (const id of both) expect(await cpusAndMib(id)).toEqual(["2", "256"]);
  const log = await readFile(join(dir, "trined.log"), "utf8");
  for (const event of ["LxcfsUp", "LxcfsLost", "LxcfsViews"]) expect(log).toContain(event);
  expect((await get("/metrics")).body).toMatch(/^trine_lxcfs_healed_total [1-9]/m);
}, 300_000);

test("without NRI too: who asked for none sees the node, a first limit shows, and who has ended is let go", async () => {
  const before = Number((await figures())["containers"]);
  const off = await runOld({ name: "off", annotations: { "trine.dev/lxcfs": "off" } });
  expect(await totalMib(cri, off)).toBeGreaterThan(1024);
  const late = await runOld({ name: "late", limited: false });
  expect(await totalMib(cri, late)).toBeGreaterThan(1024);
  await cri.runtime.updateContainerResources({ containerId: late, linux: limits(1, 64) });
  await pollUntil("it sees its first limit", { ms: EVENT_MS }, async () =>
    (await totalMib(cri, late)) === 64 ? true : undefined,
  );
  await untilFigures({ containers: before + 1 });
  await runOld({ name: "short", command: ["true"] });
  await sweptTo(before + 1);
  await cri.runtime.stopContainer({ containerId: late, timeout: 0n });
  await untilFigures({ containers: before });
}, 300_000);

test("where CPUs are chosen by the limit nproc agrees with it, also when it changes, on a daemon that was killed too", async () => {
  const wanted = { annotations: { "trine.dev/cpuset": "on" } };
  const both = [
    await runYoung({ name: "chosen", ...wanted }),
    await runOld({ name: "chosen-old", ...wanted }),
  ];
  const nproc = async (id: string): Promise<number> =>
    Number(await exec(cri, id, "/usr/bin/nproc"));
  const resize = async (cpuCount: number): Promise<void> => {
    for (const containerId of both) {
      await cri.runtime.updateContainerResources({ containerId, linux: limits(cpuCount, 192) });
      expect(await nproc(containerId)).toBe(cpuCount);
    }
  };
  const node = availableParallelism();
  expect(node).toBeGreaterThan(1);
  // Apart from each other: one has the first, the other the second.
  const allowed = async (id: string): Promise<string> =>
    (await exec(cri, id, "grep", "Cpus_allowed_list", "/proc/self/status")).trim();
  for (const id of both) expect(await nproc(id)).toBe(1);
  expect(new Set(await Promise.all(both.map(allowed))).size).toBe(2);
  await resize(2);
  await resize(1);

  await endTrined("SIGKILL");
  await startTrined();
  await untilFigures({ up: true, nri: true, stale: 0 });
  for (const id of both) expect(await nproc(id)).toBe(1);
  await resize(2);
  await resize(1);

  // What is given by others stays: here as kubelet's CPU manager gives it.
  const [first = ""] = both;
  const all = { ...limits(1, 192), cpusetCpus: `0-${node - 1}` };
  await cri.runtime.updateContainerResources({ containerId: first, linux: all });
  expect(await nproc(first)).toBe(node);
  await cri.runtime.updateContainerResources({ containerId: first, linux: limits(1, 256) });
  expect(await nproc(first)).toBe(node);
  // Who did not ask has the node's.
  expect(await nproc(await runYoung({ name: "unasked" }))).toBe(node);
}, 300_000);

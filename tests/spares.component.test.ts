// Guests that boot before their pods, on the real containerd, shim, trined, QEMU, guest kernel and agent.
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { leakCheck } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { SOAK } from "./node-under-test.ts";

const PODS = SOAK ? 200 : 20;
const READY_MS = 240_000;
const POOL = "  pool: [{ count: 1 }]";

interface PodView {
  readonly sandboxId: string;
  readonly shim: { readonly pid: number };
  readonly machine?: { readonly pid: number; readonly consoleLog: string };
}

/** One that may be claimed. */
interface Ready {
  readonly name: string;
  readonly dir: string;
  readonly shim: number;
}

let node: TrineNode;
let busybox: string;

beforeAll(async () => {
  ({ node, image: busybox } = await startMicrovmNode({ more: POOL }));
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

const run = (name: string, ...command: string[]): Promise<RunningPod> =>
  node.run({ name, image: busybox, handler: "trine-microvm", command });

const classDir = (): string => join(node.stateDir, "spares/1-256");

/** Directories of spares, ready or not. */
async function spareNames(): Promise<string[]> {
  const entries = await readdir(classDir(), { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

async function readyOf(name: string): Promise<Ready | undefined> {
  const dir = join(classDir(), name);
  const isReady = await stat(join(dir, "ready")).catch(() => undefined);
  if (isReady === undefined) return undefined;
  return { name, dir, shim: Number(await readFile(join(dir, "lock"), "utf8")) };
}

/** The one spare of the node, once it is ready. */
async function ready(): Promise<Ready> {
  try {
    return await pollUntil("a spare is ready", { ms: READY_MS, everyMs: 100 }, async () => {
      const found = await Promise.all((await spareNames().catch(() => [])).map(readyOf));
      return found.find((each) => each !== undefined);
    });
  } catch (cause) {
    throw new Error(`no spare; trined: ${await node.trinedLog()}`, { cause });
  }
}

async function view(pod: Pick<RunningPod, "podSandboxId">): Promise<PodView> {
  const { items } = JSON.parse((await node.api("/v1/pods")).body) as { items: PodView[] };
  const found = items.find((each) => each.sandboxId === pod.podSandboxId);
  if (found === undefined) throw new Error(`no pod ${pod.podSandboxId}`);
  return found;
}

/** Children of a shim, by their programs' names. */
async function childrenOf(shim: number): Promise<{ pid: number; name: string }[]> {
  const pids = await readFile(`/proc/${shim}/task/${shim}/children`, "utf8");
  return Promise.all(
    pids
      .trim()
      .split(" ")
      .map(async (pid) => ({
        pid: Number(pid),
        name: (await readFile(`/proc/${pid}/comm`, "utf8")).trim(),
      })),
  );
}

async function vmmOf(shim: number): Promise<number> {
  const vmm = (await childrenOf(shim)).find(({ name }) => name.startsWith("qemu"));
  if (vmm === undefined) throw new Error(`shim ${shim} has no VMM`);
  return vmm.pid;
}

async function metric(name: string): Promise<number> {
  const { body } = await node.api("/metrics");
  const line = body.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length));
}

async function exec(pod: RunningPod, ...cmd: string[]): Promise<string> {
  const { containerId } = pod;
  const answer = await node.containerd.cri.runtime.execSync({ containerId, cmd, timeout: 60n });
  return Buffer.from(answer.stdout).toString();
}

test("a pod starts in the guest that waits for it, and is that guest's only one", async () => {
  const spare = await ready();
  const vmm = await vmmOf(spare.shim);
  expect(JSON.parse((await node.api("/v1/pods")).body)).toEqual({ items: [] });
  const pod = await run("first", "sh", "-c", "echo hello; exec sleep 1000");
  await node.untilOutput(pod, "hello");
  const { shim, machine } = await view(pod);
  expect([shim.pid, machine?.pid]).toEqual([spare.shim, vmm]);
  expect(machine?.consoleLog).toContain(pod.podSandboxId.slice(0, 12));
  expect((await stat(machine?.consoleLog ?? "")).isFile()).toBe(true);
  expect(await readFile(`/proc/${vmm}/cgroup`, "utf8")).toContain(pod.podSandboxId);
  expect(await exec(pod, "hostname")).toBe("first\n");
  const addresses = await exec(pod, "ip", "-o", "addr", "show", "eth0");
  expect(addresses).toContain(pod.ip);
  expect(addresses).not.toContain("169.254.");
  expect(await exec(pod, "ls", "/sys/class/net")).toBe("eth0\nlo\n");
  expect(await metric('trine_spare_claims_total{result="used"}')).toBe(1);
  await node.remove(pod);
}, 600_000);

test("without trined a spare is claimed all the same, and the pod waits for trined", async () => {
  const spare = await ready();
  await node.killTrined();
  const starting = run("waits", "sh", "-c", "echo late; exec sleep 1000");
  await pollUntil("it is claimed", { ms: 60_000 }, async () =>
    (await spareNames()).length === 0 ? true : undefined,
  );
  await node.startTrined();
  const pod = await starting;
  await node.untilOutput(pod, "late");
  expect((await view(pod)).shim.pid).toBe(spare.shim);
  await node.remove(pod);
}, 600_000);

test("a trined that is killed while it makes a spare leaves none behind; one that was ready is kept", async () => {
  await pollUntil("one is half made", { ms: READY_MS, everyMs: 20 }, async () => {
    const [name] = await spareNames();
    return name !== undefined && (await readyOf(name)) === undefined ? name : undefined;
  });
  await node.killTrined();
  await node.startTrined();
  const spare = await ready();
  expect(await spareNames()).toEqual([spare.name]);
  await node.killTrined();
  await node.startTrined();
  expect(await ready()).toEqual(spare);
  const pod = await run("kept", "sh", "-c", "echo kept; exec sleep 1000");
  await node.untilOutput(pod, "kept");
  expect((await view(pod)).shim.pid).toBe(spare.shim);
  await node.remove(pod);
}, 900_000);

test("a spare whose VMM has just died costs its pod nothing but time", async () => {
  const spare = await ready();
  process.kill(await vmmOf(spare.shim), "SIGKILL");
  const pod = await run("anyway", "sh", "-c", "echo anyway; exec sleep 1000");
  await node.untilOutput(pod, "anyway", READY_MS);
  expect((await view(pod)).machine?.pid).toBeGreaterThan(0);
  await node.remove(pod);
}, 600_000);

test("a pod of another size boots its own guest and leaves the spare", async () => {
  const spare = await ready();
  const pod = await node.run({
    name: "larger",
    image: busybox,
    handler: "trine-microvm",
    command: ["sh", "-c", "echo larger; exec sleep 1000"],
    annotations: { "trine.dev/memory": "320Mi" },
  });
  await node.untilOutput(pod, "larger", READY_MS);
  expect((await view(pod)).shim.pid).not.toBe(spare.shim);
  expect((await ready()).name).toBe(spare.name);
  await node.remove(pod);
}, 600_000);

test(
  "pods come and go, the pool is given up: nothing is left",
  async () => {
    await ready();
    const { stateDir, rootDir, containerd } = node;
    // What is there of a node without pods and spares.
    const check = await leakCheck({
      markers: [`${stateDir}/pods`, `${stateDir}/spares`, `${containerd.dir}/state`],
      roots: [join(stateDir, "pods"), join(rootDir, "pods")],
      bridges: [containerd.bridge.name],
    });
    for (let round = 0; round < PODS; round += 1) {
      const pod = await run(`round${round}`, "sh", "-c", "echo done");
      expect(await node.ended(pod, READY_MS)).toMatchObject({ exitCode: 0 });
      await node.remove(pod);
    }
    expect(await metric('trine_spare_claims_total{result="used"}')).toBeGreaterThan(0);
    const config = join(node.dir, "trined.yaml");
    await writeFile(config, (await readFile(config, "utf8")).replace(POOL, ""));
    await node.killTrined("SIGTERM");
    await node.startTrined();
    await pollUntil("the pool is gone", { ms: 60_000 }, async () =>
      (await spareNames()).length === 0 ? true : undefined,
    );
    expect(await check.leaks(20_000)).toEqual([]);
  },
  PODS * 90_000,
);

// Pods that go on from a template: each is itself alone, none depends on the template's life, nothing is left.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, readdir, readlink, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pollUntil } from "@trine/base";
import { findProcesses } from "@trine/testkit";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";

const BUILD_MS = 180_000;
const CLONES = 3;
/** What a program sees of itself in its first moment; then it stays. */
const WHO = `
head -c 32 /dev/urandom | hexdump -v -e '/1 "%02x"'; echo
cat /proc/sys/kernel/random/boot_id; hostname; cat /sys/class/net/eth0/address
ip -o -4 addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'; date +%s; echo end; sleep 1000`;

interface TemplateView {
  readonly clones: number;
  readonly heldBytes: number;
  readonly shim: { readonly pid: number };
}

let node: TrineNode;
let image: string;

beforeAll(async () => {
  ({ node, image } = await startMicrovmNode());
}, 1_800_000);

afterAll(async () => {
  expect(await node.stop()).toEqual([]);
});

function run(name: string, script = WHO): Promise<RunningPod> {
  return node.run({ name, image, handler: "trine-microvm", command: ["/bin/sh", "-c", script] });
}

async function exec(pod: RunningPod, ...cmd: string[]): Promise<string> {
  const { containerId } = pod;
  const answer = await node.containerd.cri.runtime.execSync({ containerId, cmd, timeout: 60n });
  return Buffer.from(answer.stdout).toString();
}

async function items<T>(path: string): Promise<T[]> {
  return (JSON.parse((await node.api(path)).body) as { items: T[] }).items;
}

/** How the pod's guest came up. */
async function startOf(pod: RunningPod): Promise<unknown> {
  const pods = await items<{ sandboxId: string; machine?: { start?: unknown } }>("/v1/pods");
  return pods.find(({ sandboxId }) => sandboxId === pod.podSandboxId)?.machine?.start;
}

function untilTemplate(): Promise<TemplateView> {
  return pollUntil("there is a template", { ms: BUILD_MS, everyMs: 200 }, async () => {
    const [template] = await items<TemplateView>("/v1/templates");
    return template;
  });
}

async function directories(): Promise<string[]> {
  return readdir(join(node.stateDir, "templates"));
}

/** The one template's directory. */
async function directory(): Promise<string> {
  const [name, ...others] = await directories();
  expect(others).toEqual([]);
  return join(node.stateDir, "templates", name ?? "");
}

/** Undefined as long as no VMM has been started in any directory below `dir`. */
async function monitorIn(dir: string): Promise<true | undefined> {
  const names = await readdir(dir).catch(() => []);
  const looks = names.map((name) =>
    stat(join(dir, name, "machine/qmp.sock")).catch(() => undefined),
  );
  return (await Promise.all(looks)).some((found) => found !== undefined) ? true : undefined;
}

function childrenOf(pid: number): Promise<string> {
  return readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Where the template's shim says that its memory is. */
async function memoryOf({ shim }: TemplateView): Promise<string> {
  const fds = `/proc/${shim.pid}/fd`;
  for (const fd of await readdir(fds)) {
    const target = await readlink(join(fds, fd)).catch(() => "");
    if (target.includes("memfd:trine-memory")) return join(fds, fd);
  }
  throw new Error("the template's shim holds no memory");
}

async function metric(name: string): Promise<number> {
  const { body } = await node.api("/metrics");
  const line = body.split("\n").find((each) => each.startsWith(name));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

test("clones that start at once have nothing in common, and leave the template as it was", async () => {
  // No pod has been on this node: what is in the template is nobody's.
  expect(await items("/v1/pods")).toEqual([]);
  const template = await untilTemplate();
  const memory = await memoryOf(template);
  const before = await hashOf(memory);
  const startedMs = Date.now();
  const names = Array.from({ length: CLONES }, (_, index) => `clone-${index}`);
  const pods = await Promise.all(names.map((name) => run(name)));
  const said = await Promise.all(pods.map((pod) => node.untilOutput(pod, "end\n", 120_000)));
  const lines = said.map((text) => text.trim().split("\n"));
  for (const [index, what] of ["random", "boot_id", "hostname", "mac", "address"].entries()) {
    const values = new Set(lines.map((each) => each[index]));
    expect(values.size, `${what}: ${[...values].join(" ")}`).toBe(CLONES);
    expect([...values].every((value) => value !== undefined && value !== "")).toBe(true);
  }
  for (const [index, pod] of pods.entries()) {
    expect(lines[index]?.[2]).toBe(names[index]);
    expect(lines[index]?.[4]).toBe(pod.ip);
    const clockMs = Number(lines[index]?.[5]) * 1000;
    expect(clockMs).toBeGreaterThanOrEqual(startedMs - 1000);
    expect(clockMs).toBeLessThanOrEqual(Date.now() + 1000);
    expect(await startOf(pod)).toEqual({ how: "clone" });
  }
  expect(await metric('trine_guest_starts_total{how="clone",why=""}')).toBe(CLONES);
  expect(await metric("trine_template_held_bytes")).toBeGreaterThan(50 * 1024 * 1024);
  expect((await untilTemplate()).clones).toBe(CLONES);
  // Nor has what ran since come into it.
  expect(await hashOf(memory)).toBe(before);
  await Promise.all(pods.map((pod) => node.remove(pod)));
}, 400_000);

test("a pod larger than the template goes on from it, and has all its memory and processors", async () => {
  await untilTemplate();
  const pod = await node.run({
    name: "large",
    image,
    handler: "trine-microvm",
    annotations: { "trine.dev/memory": "640Mi", "trine.dev/cpus": "2" },
    command: ["/bin/sh", "-c", "nproc; grep MemTotal /proc/meminfo; sleep 1000"],
  });
  const said = await node.untilOutput(pod, /MemTotal.*\n/, 120_000);
  const [cpus, total = ""] = said.split("\n");
  expect(cpus).toBe("2");
  expect(Number(/\d+/.exec(total)?.[0]) / 1024).toBeGreaterThan(560);
  expect(await startOf(pod)).toEqual({ how: "clone" });
  expect(await directories()).toHaveLength(1);
  await node.remove(pod);
}, 400_000);

test("a template outlives the daemon, also one that dies while a clone starts", async () => {
  const { shim } = await untilTemplate();
  const starting = run("restart");
  const pods = join(node.stateDir, "pods");
  await pollUntil("the clone's VMM is there", { ms: 60_000, everyMs: 5 }, () => monitorIn(pods));
  await node.killTrined();
  await node.startTrined();
  const pod = await starting;
  expect(await exec(pod, "hostname")).toBe("restart\n");
  expect(await startOf(pod)).toEqual({ how: "clone" });
  expect((await untilTemplate()).shim.pid).toBe(shim.pid);
  await node.remove(pod);
}, 400_000);

test("a template that was tampered with serves no pod: it boots, and says why", async () => {
  await untilTemplate();
  const dir = await directory();
  const state = await readFile(join(dir, "state"));
  await writeFile(join(dir, "state"), state.toReversed());
  const pod = await run("tampered");
  expect(await startOf(pod)).toMatchObject({ how: "cold", why: "unfit" });
  expect(JSON.stringify(await startOf(pod))).toContain("was changed or cut short");
  expect(await exec(pod, "hostname")).toBe("tampered\n");
  await pollUntil("it is gone", { ms: 30_000 }, async () =>
    (await directories()).length === 0 ? true : undefined,
  );
  await node.remove(pod);
}, 400_000);

test("a daemon killed while it makes a template makes it anew; clones outlive their template's shim", async () => {
  await node.killTrined();
  await node.startTrined();
  const templates = join(node.stateDir, "templates");
  await pollUntil("one is being made", { ms: 30_000, everyMs: 10 }, () => monitorIn(templates));
  await node.killTrined();
  await node.startTrined();
  const template = await untilTemplate();
  await directory(); // one, and nothing of the half made
  expect(await childrenOf(template.shim.pid)).toBe("");

  const clone = await run("survivor");
  process.kill(template.shim.pid, "SIGKILL");
  await pollUntil("its directory is gone", { ms: 30_000 }, async () =>
    (await directories()).length === 0 ? true : undefined,
  );
  expect(await exec(clone, "hostname")).toBe("survivor\n");
  const cold = await run("cold");
  expect(await startOf(cold)).toEqual({ how: "cold", why: "making" });
  await Promise.all([clone, cold].map((pod) => node.remove(pod)));
  await untilTemplate();
  // The shim of the one template, and nothing else without a pod.
  const left = await findProcesses(join(node.stateDir, "templates"));
  expect(left.map(({ pid }) => pid)).toEqual([(await untilTemplate()).shim.pid]);
}, 600_000);

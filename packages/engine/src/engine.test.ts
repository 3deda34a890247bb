import { execFile } from "node:child_process";
import { rmSync, symlinkSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createOverlay } from "@trine/disk-images";
import { TrineError, pollUntil } from "@trine/base";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Engine } from "./engine.ts";
import { FakeShim } from "./testing/fake-shim.ts";
import type { Pod } from "./pod.ts";
import type { CreateTask, PodRef } from "./requests.ts";
import { SpawningDriver } from "./testing/spawning-driver.ts";
import { UidPool } from "./uid-pool.ts";

const MIB = 1024 * 1024;
const SANDBOX = "sandbox1";
const signal = AbortSignal.timeout(60_000);

let dir: string;
let shim: FakeShim;
let driver: SpawningDriver;
let uids: UidPool;
let engine: Engine;
let ref: PodRef;
let task: CreateTask;

function newEngine(): Engine {
  return new Engine({
    driver,
    uids,
    log: pino({ level: "silent" }),
    now: () => new Date(),
    guestImage: () => Promise.reject(new Error("no guest image")),
    config: {
      stateDir: join(dir, "state"),
      rootDir: join(dir, "root"),
      accelerator: "tcg",
      machines: {
        defaultMemoryBytes: 64 * MIB,
        maxDiskBytes: 1024 * MIB,
        consoleSpoolBytes: MIB,
        uefi: undefined,
        powerButtonEveryMs: 10,
      },
      microvms: {
        fileServer: "/p9",
        defaultMemoryBytes: 128 * MIB,
        defaultCpus: 1,
        bootMs: 1_000,
      },
    },
  });
}

async function writeBundle(name: string, annotations: Record<string, string>): Promise<string> {
  const bundle = join(dir, name);
  await mkdir(join(bundle, "rootfs/disk"), { recursive: true });
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  await writeFile(
    join(bundle, "config.json"),
    JSON.stringify({
      hostname: "pod1",
      annotations: { "io.kubernetes.cri.sandbox-name": "pod1", ...annotations },
      linux: {},
    }),
  );
  return bundle;
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "te-"));
  const bundle = await writeBundle("sandbox", { "io.kubernetes.cri.container-type": "sandbox" });
  const podDir = join(dir, "state/pods/p1");
  shim = new FakeShim({ sandboxId: SANDBOX, bundle, podDir });
  await shim.listen();
  driver = new SpawningDriver();
  uids = new UidPool({ base: 1_900_000_000, count: 2 });
  engine = newEngine();
  ref = { namespace: "k8s.io", sandboxId: SANDBOX, address: shim.address };
  task = {
    id: "c1",
    bundle: await writeBundle("c1", {}),
    rootfs: [],
    terminal: false,
    stdin: false,
  };
});

afterEach(async () => {
  await engine.detach();
  await shim.die();
  await rm(dir, { recursive: true, force: true });
});

async function running(): Promise<Pod> {
  const pod = await engine.pod(ref);
  await pod.create(task);
  await pod.start({ id: "c1", execId: "" }, signal);
  return pod;
}

const stateOf = (pod: Pod): string | undefined => pod.summary().machine?.state;
const until = (pod: Pod, state: string): Promise<true> =>
  pollUntil(`machine is ${state}`, { ms: 5_000, everyMs: 5 }, () =>
    stateOf(pod) === state ? true : undefined,
  );

describe("a machine's life", () => {
  test("is made, started, stopped by the power button, and taken apart", async () => {
    const pod = await running();
    expect(stateOf(pod)).toBe("running");
    expect([...shim.mounted]).toEqual([join(task.bundle, "rootfs")]);

    driver.onPowerDown = () => {
      shim.end("vmm", { exitStatus: 0, reason: "guest-shutdown" });
      driver.onPowerDown = () => undefined;
    };
    await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    await until(pod, "ended");
    await pod.delete({ id: "c1", execId: "" });
    expect(pod.summary().machine).toBeUndefined();
    expect(shim.mounted.size).toBe(0);
    expect(shim.children.size).toBe(0);
    expect(await readdir(join(dir, "state/pods/p1"))).toEqual(["shim.sock"]);
    expect(uids.take("another pod")).toBe(1_900_000_000);
  });

  test("the power button is pressed until the guest obeys", async () => {
    const pod = await running();
    driver.onPowerDown = () => {
      if (driver.powerDowns === 3) shim.end("vmm", { exitStatus: 0, reason: "guest-shutdown" });
    };
    await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    await until(pod, "ended");
    expect(driver.powerDowns).toBe(3);
  });

  test("delete sees an end whose event has not come yet", async () => {
    const pod = await running();
    const child = shim.children.get("vmm");
    if (child !== undefined) Object.assign(child, { running: false, exitStatus: 137 });
    await pod.delete({ id: "c1", execId: "" });
    expect(pod.summary().machine).toBeUndefined();
  });

  test("a pod of no known level is refused before anything of it is made", async () => {
    shim.runtime = "containerd-shim-other-v2";
    await expect(engine.pod(ref)).rejects.toMatchObject({
      kind: "unimplemented",
      message: expect.stringContaining("containerd-shim-trine-microvm-v2") as string,
    });
  });

  test("a second machine is refused, and names the first", async () => {
    const pod = await running();
    const second = { ...task, id: "c2", bundle: await writeBundle("c2", {}) };
    await expect(pod.create(second)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(/already has its machine, container c1/) as string,
    });
  });

  test.each([
    [10, /signal 10 means nothing to a machine/],
    [15, undefined],
  ])("signal %d", async (number, refusal) => {
    const pod = await running();
    const kill = pod.kill({ id: "c1", execId: "" }, { signal: number, all: false });
    if (refusal === undefined) await expect(kill).resolves.toBeUndefined();
    else await expect(kill).rejects.toThrow(refusal);
  });
});

describe("a step that fails", () => {
  test("an end that could not be written down is applied again", async () => {
    await running();
    shim.failOnce("putState");
    shim.end("vmm", { exitStatus: 0 });
    await pollUntil("the end is written down", { ms: 5_000, everyMs: 5 }, () =>
      Buffer.from(shim.state).includes('"ended"') ? true : undefined,
    );
  });

  test("a lost monitor is followed again", async () => {
    driver.loseMonitor = true;
    await running();
    await pollUntil("followed again", { ms: 5_000, everyMs: 20 }, () =>
      driver.followed === 2 ? true : undefined,
    );
  });

  test("a start whose record failed holds one monitor when it is repeated", async () => {
    const pod = await engine.pod(ref);
    await pod.create(task);
    shim.failOnce("putState");
    await expect(pod.start({ id: "c1", execId: "" }, signal)).rejects.toThrow(/injected/);
    expect(stateOf(pod)).toBe("created");
    await pod.start({ id: "c1", execId: "" }, signal);
    expect(stateOf(pod)).toBe("running");
    expect(driver.attached).toBe(1);
  });

  test("an exec too large for the pod's document harms nothing else", async () => {
    const pod = await running();
    const process = new Uint8Array();
    const exec = { id: "c1", execId: "e1", terminal: false, stdin: false, argv: ["true"], process };
    const env = [`A=${"x".repeat(2 * MIB)}`];
    await expect(pod.addExec({ ...exec, env })).rejects.toMatchObject({ kind: "exhausted" });
    await pod.addExec({ ...exec, execId: "e2", env: [] });
  });

  test("an exec the shim has forgotten does not keep its machine from ending", async () => {
    const pod = await running();
    const io = { terminal: false, stdin: false };
    const what = { argv: ["true"], env: [], process: new Uint8Array() };
    const exec = { id: "c1", execId: "e1", ...io, ...what };
    await pod.addExec(exec);
    shim.failOnce("setProcess", new TrineError("notFound", "no exec e1"));
    shim.end("vmm", { exitStatus: 0 });
    await until(pod, "ended");
    await pod.delete({ id: "c1", execId: "" });
    expect(JSON.parse(Buffer.from(shim.state).toString())).toMatchObject({ execs: {} });
  });

  test("a resolv.conf that is a pipe is refused, not waited for", async () => {
    const pipe = join(dir, "resolv.conf");
    await promisify(execFile)("mkfifo", [pipe]);
    const mounts = [{ destination: "/etc/resolv.conf", source: pipe }];
    await writeFile(join(task.bundle, "config.json"), JSON.stringify({ mounts }));
    const pod = await engine.pod(ref);
    await expect(pod.create(task)).rejects.toMatchObject({ kind: "invalid" });
  });

  test.each(["mount", "putState"] as const)(
    "%s: create leaves nothing behind and can be repeated",
    async (method) => {
      const pod = await engine.pod(ref);
      shim.failOnce(method);
      await expect(pod.create(task)).rejects.toThrow(/injected/);
      expect(shim.mounted.size).toBe(0);
      expect(await readdir(join(dir, "state/pods/p1"))).toEqual(["shim.sock"]);
      expect(pod.summary().machine).toBeUndefined();
      await pod.create(task);
      expect(stateOf(pod)).toBe("created");
    },
  );

  test("a start that fails leaves the machine created, to be deleted or started again", async () => {
    const pod = await engine.pod(ref);
    await pod.create(task);
    driver.failStart = new Error("no memory");
    await expect(pod.start({ id: "c1", execId: "" }, signal)).rejects.toThrow("no memory");
    expect(stateOf(pod)).toBe("created");
    await pod.start({ id: "c1", execId: "" }, signal);
    expect(stateOf(pod)).toBe("running");
  });

  test.each(["reap", "unmount", "putState"] as const)(
    "%s: delete can be repeated to its end",
    async (method) => {
      const pod = await running();
      shim.end("vmm", { exitStatus: 0 });
      await until(pod, "ended");
      shim.failOnce(method);
      await expect(pod.delete({ id: "c1", execId: "" })).rejects.toThrow(/injected/);
      await pod.delete({ id: "c1", execId: "" });
      expect(pod.summary().machine).toBeUndefined();
      expect(shim.mounted.size + shim.children.size).toBe(0);
    },
  );
});

describe("a daemon that returns", () => {
  const restart = async (): Promise<Pod> => {
    await engine.detach();
    engine = newEngine();
    expect(await engine.adoptAll()).toEqual({ adopted: 1, cleaned: 0 });
    return engine.pod(ref);
  };

  test("finds the running machine and its user id", async () => {
    await running();
    uids = new UidPool({ base: 1_900_000_000, count: 2 });
    const pod = await restart();
    expect(stateOf(pod)).toBe("running");
    expect(driver.recovered).toEqual([SANDBOX]);
    expect(uids.take("another pod")).toBe(1_900_000_001);
  });

  test("a create that had been answered is not done again", async () => {
    const first = await engine.pod(ref);
    await first.create(task);
    const pod = await restart();
    const mounts = shim.calls.filter((call) => call === "mount").length;
    await pod.create(task);
    expect(shim.calls.filter((call) => call === "mount").length).toBe(mounts);
  });

  test("a start that died between spawn and its record finds the process", async () => {
    const first = await engine.pod(ref);
    await first.create(task);
    // The daemon dies right after the spawn: the document still says created.
    const { state, revision } = shim;
    await first.start({ id: "c1", execId: "" }, signal);
    Object.assign(shim, { state, revision });
    const pod = await restart();
    await pod.start({ id: "c1", execId: "" }, signal);
    expect(stateOf(pod)).toBe("running");
    expect(shim.children.size).toBe(1);
  });

  test("an end while it was away is known at once", async () => {
    await running();
    await engine.detach();
    shim.end("vmm", { exitStatus: 3 });
    const pod = await restart();
    expect(stateOf(pod)).toBe("ended");
    await pod.delete({ id: "c1", execId: "" });
  });

  test("takes apart what was deleted while it was away", async () => {
    await running();
    await engine.detach();
    shim.end("vmm", { exitStatus: 0 });
    shim.tasks.clear();
    const pod = await restart();
    expect(pod.summary().machine).toBeUndefined();
    expect(shim.mounted.size + shim.children.size).toBe(0);
  });

  test("a stop that was under way goes on", async () => {
    const first = await running();
    await first.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    const pressed = driver.powerDowns;
    const pod = await restart();
    await pollUntil("pressed again", { ms: 5_000, everyMs: 5 }, () =>
      driver.powerDowns > pressed ? true : undefined,
    );
    expect(stateOf(pod)).toBe("stopping");
  });

  test("a living pod that cannot be adopted keeps its files and is tried again", async () => {
    await running();
    await engine.detach();
    driver.failRecover = new TrineError("unavailable", "the monitor went away");
    engine = newEngine();
    expect(await engine.adoptAll()).toEqual({ adopted: 1, cleaned: 0 });
    expect(await readdir(join(dir, "state/pods/p1"))).toContain("machine");
    await pollUntil("adopted", { ms: 10_000, everyMs: 20 }, async () =>
      (await engine.list()).length === 1 ? true : undefined,
    );
    expect(driver.recovered).toEqual([SANDBOX]);
  });

  test("an adoption that fails lets go of the machine's monitor", async () => {
    const { state } = shim;
    await running();
    await engine.detach();
    // Written by a daemon that died between the spawn and its record: adoption writes it down.
    const document = Buffer.from(shim.state).toString().replace('"running"', '"created"');
    expect(state.length).toBeLessThan(shim.state.length);
    shim.state = Buffer.from(document);
    shim.failOnce("putState");
    engine = newEngine();
    await expect(engine.pod(ref)).rejects.toThrow(/injected/);
    expect(driver.attached).toBe(0);
  });

  test("a lost connection to a living shim does not end its pod", async () => {
    const pod = await running();
    const spool = join(dir, "root/pods/p1");
    expect(await readdir(join(dir, "root/pods"))).toEqual(["p1"]);
    const second = new FakeShim({ ...shim.pod, podDir: join(dir, "state/second") });
    Object.assign(second, { state: shim.state, revision: shim.revision });
    for (const [key, child] of shim.children) second.children.set(key, child);
    await second.listen();
    const dying = shim.die();
    rmSync(shim.address, { force: true });
    symlinkSync(second.address, shim.address);
    await dying;
    await pollUntil("adopted again", { ms: 10_000, everyMs: 20 }, async () => {
      const again = await engine.pod(ref).catch(() => undefined);
      return again !== undefined && again !== pod ? true : undefined;
    });
    expect(await readdir(spool)).toEqual([]);
    expect(uids.take("another pod")).toBe(1_900_000_001);
    await engine.detach();
    await second.die();
  });

  test("cleans after a pod whose shim is dead, and after a reboot", async () => {
    await running();
    await engine.detach();
    await shim.die();
    // A killed process leaves its socket file behind.
    await writeFile(shim.address, "");
    await mkdir(join(dir, "root/pods/of-an-earlier-boot"), { recursive: true });
    engine = newEngine();
    const { adopted } = await engine.adoptAll();
    expect(adopted).toBe(0);
    expect(await readdir(join(dir, "state/pods"))).toEqual([]);
    expect(await readdir(join(dir, "root/pods"))).toEqual([]);
  });
});

import { execFile } from "node:child_process";
import { rmSync, symlinkSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { createOverlay } from "@trine/disk-images";
import { TrineError, pollUntil } from "@trine/base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "./engine.ts";
import { FakeShim } from "./testing/fake-shim.ts";
import type { Pod } from "./pod.ts";
import type { CreateTask } from "./requests.ts";
import { FIRST_UID, OnePod, SANDBOX, newUids } from "./testing/test-engine.ts";

const MIB = 1024 * 1024;
const signal = AbortSignal.timeout(60_000);

let one: OnePod;
let engine: Engine;
let task: CreateTask;

async function writeBundle(name: string, annotations: Record<string, string>): Promise<string> {
  const bundle = await one.bundle(name, configOf(annotations));
  await mkdir(join(bundle, "rootfs/disk"));
  await createOverlay(join(bundle, "rootfs/disk/disk.qcow2"), { virtualSizeBytes: 8 * MIB });
  return bundle;
}

function configOf(annotations: Record<string, string>): object {
  return {
    hostname: "pod1",
    annotations: { "io.kubernetes.cri.sandbox-name": "pod1", ...annotations },
    linux: {},
  };
}

beforeEach(async () => {
  one = await OnePod.make(configOf({ "io.kubernetes.cri.container-type": "sandbox" }));
  one.bootMs = 1_000;
  engine = one.engine();
  const bundle = await writeBundle("c1", {});
  task = { id: "c1", bundle, rootfs: [], terminal: false, stdin: false };
});

afterEach(() => one[Symbol.asyncDispose]());

async function running(): Promise<Pod> {
  const pod = await engine.pod(one.ref);
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
    expect([...one.shim.mounted]).toEqual([join(task.bundle, "rootfs")]);

    one.driver.onPowerDown = () => {
      one.shim.end("vmm", { exitStatus: 0, reason: "guest-shutdown" });
      one.driver.onPowerDown = () => undefined;
    };
    await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    await until(pod, "ended");
    await pod.delete({ id: "c1", execId: "" });
    expect(pod.summary().machine).toBeUndefined();
    expect(one.shim.mounted.size).toBe(0);
    expect(one.shim.children.size).toBe(0);
    expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
    expect(one.uids.take("another pod")).toBe(FIRST_UID);
  });

  test("its VMM reports while it runs, and only of this pod", async () => {
    const none = { kind: "notFound" };
    await engine.pod(one.ref);
    await expect(engine.report(one.ref.sandboxId)).rejects.toMatchObject(none);
    await running();
    expect(await engine.report(one.ref.sandboxId)).toMatchObject({
      answers: { status: "running" },
    });
    await expect(engine.report("another")).rejects.toMatchObject(none);
  });

  test("the power button is pressed until the guest obeys", async () => {
    const pod = await running();
    one.driver.onPowerDown = () => {
      if (one.driver.powerDowns === 3)
        one.shim.end("vmm", { exitStatus: 0, reason: "guest-shutdown" });
    };
    await pod.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    await until(pod, "ended");
    expect(one.driver.powerDowns).toBe(3);
  });

  test("delete sees an end whose event has not come yet", async () => {
    const pod = await running();
    const child = one.shim.children.get("vmm");
    if (child !== undefined) Object.assign(child, { running: false, exitStatus: 137 });
    await pod.delete({ id: "c1", execId: "" });
    expect(pod.summary().machine).toBeUndefined();
  });

  test("a pod of no known level is refused before anything of it is made", async () => {
    one.shim.runtime = "containerd-shim-other-v2";
    await expect(engine.pod(one.ref)).rejects.toMatchObject({
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
    one.shim.failOnce("putState");
    one.shim.end("vmm", { exitStatus: 0 });
    await pollUntil("the end is written down", { ms: 5_000, everyMs: 5 }, () =>
      Buffer.from(one.shim.state).includes('"ended"') ? true : undefined,
    );
  });

  test("a lost monitor is followed again", async () => {
    one.driver.loseMonitor = true;
    await running();
    await pollUntil("followed again", { ms: 5_000, everyMs: 20 }, () =>
      one.driver.followed === 2 ? true : undefined,
    );
  });

  test("a start whose record failed holds one monitor when it is repeated", async () => {
    const pod = await engine.pod(one.ref);
    await pod.create(task);
    one.shim.failOnce("putState");
    await expect(pod.start({ id: "c1", execId: "" }, signal)).rejects.toThrow(/injected/);
    expect(stateOf(pod)).toBe("created");
    await pod.start({ id: "c1", execId: "" }, signal);
    expect(stateOf(pod)).toBe("running");
    expect(one.driver.attached).toBe(1);
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
    one.shim.failOnce("setProcess", new TrineError("notFound", "no exec e1"));
    one.shim.end("vmm", { exitStatus: 0 });
    await until(pod, "ended");
    await pod.delete({ id: "c1", execId: "" });
    expect(JSON.parse(Buffer.from(one.shim.state).toString())).toMatchObject({ execs: {} });
  });

  test("a resolv.conf that is a pipe is refused, not waited for", async () => {
    const pipe = join(one.dir, "resolv.conf");
    await promisify(execFile)("mkfifo", [pipe]);
    const mounts = [{ destination: "/etc/resolv.conf", source: pipe }];
    await writeFile(join(task.bundle, "config.json"), JSON.stringify({ mounts }));
    const pod = await engine.pod(one.ref);
    await expect(pod.create(task)).rejects.toMatchObject({ kind: "invalid" });
  });

  test.each(["mount", "putState"] as const)(
    "%s: create leaves nothing behind and can be repeated",
    async (method) => {
      const pod = await engine.pod(one.ref);
      one.shim.failOnce(method);
      await expect(pod.create(task)).rejects.toThrow(/injected/);
      expect(one.shim.mounted.size).toBe(0);
      expect(await readdir(one.podDir)).toEqual(["shim.sock"]);
      expect(pod.summary().machine).toBeUndefined();
      await pod.create(task);
      expect(stateOf(pod)).toBe("created");
    },
  );

  test("a start that fails leaves the machine created, to be deleted or started again", async () => {
    const pod = await engine.pod(one.ref);
    await pod.create(task);
    one.driver.failStart = new Error("no memory");
    await expect(pod.start({ id: "c1", execId: "" }, signal)).rejects.toThrow("no memory");
    expect(stateOf(pod)).toBe("created");
    await pod.start({ id: "c1", execId: "" }, signal);
    expect(stateOf(pod)).toBe("running");
  });

  test.each(["reap", "unmount", "putState"] as const)(
    "%s: delete can be repeated to its end",
    async (method) => {
      const pod = await running();
      one.shim.end("vmm", { exitStatus: 0 });
      await until(pod, "ended");
      one.shim.failOnce(method);
      await expect(pod.delete({ id: "c1", execId: "" })).rejects.toThrow(/injected/);
      await pod.delete({ id: "c1", execId: "" });
      expect(pod.summary().machine).toBeUndefined();
      expect(one.shim.mounted.size + one.shim.children.size).toBe(0);
    },
  );
});

describe("a daemon that returns", () => {
  const restart = async (): Promise<Pod> => {
    await engine.detach();
    engine = one.engine();
    expect(await engine.adoptAll()).toEqual({ adopted: 1, cleaned: 0 });
    return engine.pod(one.ref);
  };

  test("finds the running machine and its user id", async () => {
    await running();
    one.uids = newUids();
    const pod = await restart();
    expect(stateOf(pod)).toBe("running");
    expect(one.driver.recovered).toEqual([SANDBOX]);
    expect(one.uids.take("another pod")).toBe(1_900_000_001);
  });

  test("a create that had been answered is not done again", async () => {
    const first = await engine.pod(one.ref);
    await first.create(task);
    const pod = await restart();
    const mounts = one.shim.calls.filter((call) => call === "mount").length;
    await pod.create(task);
    expect(one.shim.calls.filter((call) => call === "mount").length).toBe(mounts);
  });

  test("a start that died between spawn and its record finds the process", async () => {
    const first = await engine.pod(one.ref);
    await first.create(task);
    // The daemon dies right after the spawn: the document still says created.
    const { state, revision } = one.shim;
    await first.start({ id: "c1", execId: "" }, signal);
    Object.assign(one.shim, { state, revision });
    const pod = await restart();
    await pod.start({ id: "c1", execId: "" }, signal);
    expect(stateOf(pod)).toBe("running");
    expect(one.shim.children.size).toBe(1);
  });

  test("an end while it was away is known at once", async () => {
    await running();
    await engine.detach();
    one.shim.end("vmm", { exitStatus: 3 });
    const pod = await restart();
    expect(stateOf(pod)).toBe("ended");
    await pod.delete({ id: "c1", execId: "" });
  });

  test("takes apart what was deleted while it was away", async () => {
    await running();
    await engine.detach();
    one.shim.end("vmm", { exitStatus: 0 });
    one.shim.tasks.clear();
    const pod = await restart();
    expect(pod.summary().machine).toBeUndefined();
    expect(one.shim.mounted.size + one.shim.children.size).toBe(0);
  });

  test("a stop that was under way goes on", async () => {
    const first = await running();
    await first.kill({ id: "c1", execId: "" }, { signal: 15, all: false });
    const pressed = one.driver.powerDowns;
    const pod = await restart();
    await pollUntil("pressed again", { ms: 5_000, everyMs: 5 }, () =>
      one.driver.powerDowns > pressed ? true : undefined,
    );
    expect(stateOf(pod)).toBe("stopping");
  });

  test("a living pod that cannot be adopted keeps its files and is tried again", async () => {
    await running();
    await engine.detach();
    one.driver.failRecover = new TrineError("unavailable", "the monitor went away");
    engine = one.engine();
    expect(await engine.adoptAll()).toEqual({ adopted: 1, cleaned: 0 });
    expect(await readdir(one.podDir)).toContain("machine");
    await pollUntil("adopted", { ms: 10_000, everyMs: 20 }, async () =>
      (await engine.list()).length === 1 ? true : undefined,
    );
    expect(one.driver.recovered).toEqual([SANDBOX]);
  });

  test("an adoption that fails lets go of the machine's monitor", async () => {
    const { state } = one.shim;
    await running();
    await engine.detach();
    // Written by a daemon that died between the spawn and its record: adoption writes it down.
    const document = Buffer.from(one.shim.state).toString().replace('"running"', '"created"');
    expect(state.length).toBeLessThan(one.shim.state.length);
    one.shim.state = Buffer.from(document);
    one.shim.failOnce("putState");
    engine = one.engine();
    await expect(engine.pod(one.ref)).rejects.toThrow(/injected/);
    expect(one.driver.attached).toBe(0);
  });

  test("a lost connection to a living shim does not end its pod", async () => {
    const pod = await running();
    const spool = join(one.dir, "root/pods/p1");
    expect(await readdir(join(one.dir, "root/pods"))).toEqual(["p1"]);
    const second = new FakeShim({ ...one.shim.pod, podDir: join(one.dir, "state/second") });
    Object.assign(second, { state: one.shim.state, revision: one.shim.revision });
    for (const [key, child] of one.shim.children) second.children.set(key, child);
    await second.listen();
    const dying = one.shim.die();
    rmSync(one.shim.address, { force: true });
    symlinkSync(second.address, one.shim.address);
    await dying;
    await pollUntil("adopted again", { ms: 10_000, everyMs: 20 }, async () => {
      const again = await engine.pod(one.ref).catch(() => undefined);
      return again !== undefined && again !== pod ? true : undefined;
    });
    expect(await readdir(spool)).toEqual([]);
    expect(one.uids.take("another pod")).toBe(1_900_000_001);
    await engine.detach();
    await second.die();
  });

  test("cleans after a pod whose shim is dead, and after a reboot", async () => {
    await running();
    await engine.detach();
    await one.shim.die();
    // A killed process leaves its socket file behind.
    await writeFile(one.shim.address, "");
    await mkdir(join(one.dir, "root/pods/of-an-earlier-boot"), { recursive: true });
    engine = one.engine();
    const { adopted } = await engine.adoptAll();
    expect(adopted).toBe(0);
    expect(await readdir(join(one.dir, "state/pods"))).toEqual([]);
    expect(await readdir(join(one.dir, "root/pods"))).toEqual([]);
  });
});

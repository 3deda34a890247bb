import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { FakeAgent } from "@trine/guest-link/testing";
import { Status } from "@trine/proto/task";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "../engine.ts";
import type { Pod } from "../pod.ts";
import type { CreateTask } from "../requests.ts";
import { FIRST_UID, OnePod, SANDBOX, newUids } from "../testing/test-engine.ts";

const MIB = 1024 * 1024;
const NAMESPACES = ["network", "pid", "ipc", "uts", "mount"];
const signal = AbortSignal.timeout(60_000);
const MAIN = { id: "c1", execId: "" };
const EXEC = { id: "c1", execId: "e1" };

let one: OnePod;
let agent: FakeAgent;
let engine: Engine;
let sandbox: CreateTask;
let task: CreateTask;

function sandboxConfig(
  annotations: Record<string, string> = {},
  namespaces: readonly string[] = NAMESPACES,
): object {
  return {
    hostname: "pod1",
    annotations: {
      "io.kubernetes.cri.container-type": "sandbox",
      "io.kubernetes.cri.sandbox-name": "pod1",
      ...annotations,
    },
    linux: { namespaces: namespaces.map((type) => ({ type })), sysctl: { "net.core.x": "1" } },
  };
}

beforeEach(async () => {
  one = await OnePod.make(sandboxConfig());
  one.guestImage = () => Promise.resolve({ kernel: "/k", initrd: "/i", commandLine: "quiet" });
  one.shim.runtime = "containerd-shim-trine-microvm-v2";
  one.shim.tasks.add(SANDBOX);
  agent = new FakeAgent(join(one.podDir, "guest.sock"));
  await agent.listen();
  engine = one.engine();
  const hosts = join(one.dir, "hosts");
  await writeFile(hosts, "");
  const mounts = [{ destination: "/etc/hosts", type: "bind", source: hosts, options: ["rbind"] }];
  const config = {
    annotations: { "io.kubernetes.cri.container-name": "web" },
    process: { args: ["sh"] },
    mounts,
  };
  const io = { terminal: true, stdin: false };
  const rootfs = [{ type: "overlay", source: "overlay", target: "", options: [] }];
  task = { id: "c1", bundle: await one.bundle("c1", config), rootfs, ...io };
  sandbox = {
    id: SANDBOX,
    bundle: join(one.dir, "sandbox"),
    rootfs: [],
    terminal: false,
    stdin: false,
  };
});

afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await agent.die();
});

async function created(): Promise<Pod> {
  const pod = await engine.pod(one.ref);
  await pod.create(sandbox);
  await pod.create(task);
  return pod;
}

async function running(): Promise<Pod> {
  const pod = await created();
  await pod.start(MAIN, signal);
  return pod;
}

const share = (): string => join(one.dir, "state/pods/p1/share");
const slots = (): string => join(one.dir, "state/pods/p1/slots");
const stateOf = (pod: Pod): string | undefined => pod.summary().containers?.[0]?.state;
const nothingLeft = async (): Promise<void> => {
  expect(one.shim.mounted).toEqual(new Set());
  expect(one.shim.children).toEqual(new Map());
  const files = await readdir(one.podDir);
  expect(files.filter((name) => !/^(shim|guest)\.sock/.test(name))).toEqual([]);
  expect(one.uids.take("another pod")).toBe(FIRST_UID);
};

describe("a pod's life", () => {
  test.each(["openTap", "serveForward", "run"] as const)(
    "a network that cannot be made (%s) leaves nothing, and can be made again",
    async (method) => {
      one.shim.netns = "/run/netns/p";
      one.shim.failOnce(method);
      const pod = await engine.pod(one.ref);
      await expect(pod.create(sandbox)).rejects.toThrow(`injected into ${method}`);
      await nothingLeft();
      one.uids.release("another pod");
      await pod.create(sandbox);
      await pod.create(task);
      expect(agent.revived?.interfaces).toMatchObject([{ mac: "02:00:00:00:00:01" }]);
      expect(stateOf(pod)).toBe("created");
    },
  );

  test("the guest is started with the sandbox and made the pod's own", async () => {
    const pod = await engine.pod(one.ref);
    await pod.create(sandbox);
    expect([...one.shim.children.keys()]).toEqual(["p9", "vmm"]);
    await pod.create(task);
    expect(agent.revived).toMatchObject({
      pod: "k8s.io/sandbox1",
      hostname: "pod1",
      machineId: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      sysctls: { "net.core.x": "1" },
    });
    expect(agent.revived?.entropy).toHaveLength(64);
    expect([...agent.mounts.keys()]).toEqual(["/run/trine/share", "/run/trine/shm"]);
    expect(pod.summary()).toMatchObject({
      level: "microvm",
      machine: { state: "running", firmware: "none", memoryBytes: 128 * MIB },
      containers: [{ id: "c1", name: "web", state: "created" }],
    });
  });

  test("a container's files are mounted for the guest, its specification is the guest's", async () => {
    await created();
    const place = join(share(), "c1");
    expect([...one.shim.mounted]).toEqual([
      share(),
      slots(),
      join(place, "rootfs"),
      join(place, "m0"),
    ]);
    const { spec, terminal, stdin } = agent.containers.get("c1") ?? {};
    expect({ terminal, stdin }).toEqual({ terminal: true, stdin: false });
    expect(JSON.parse(Buffer.from(spec ?? []).toString())).toMatchObject({
      root: { path: "/run/trine/share/c1/rootfs" },
      mounts: [{ destination: "/etc/hosts", source: "/run/trine/share/c1/m0" }],
    });
    expect(one.shim.attached).toMatchObject([{ id: "c1", guestContainer: "c1", terminal: true }]);
  });

  test("is started, signalled, paused, measured, resized and changed in the guest", async () => {
    const pod = await running();
    expect(one.shim.statuses.get("c1/")).toMatchObject({ status: Status.RUNNING });
    await pod.kill(MAIN, { signal: 15, all: true });
    expect(agent.signals).toEqual([{ process: "c1/", signal: 15, all: true }]);
    await pod.pause("c1", signal);
    expect([agent.paused.size, stateOf(pod)]).toEqual([1, "paused"]);
    await pod.resume("c1", signal);
    expect([agent.paused.size, stateOf(pod)]).toEqual([0, "running"]);
    expect(await pod.stats("c1", signal)).toMatchObject({
      cpuNs: 1_500_000n,
      pids: 3n,
      memory: { usageBytes: 4096n },
    });
    expect(await pod.stats(SANDBOX, signal)).toMatchObject({ cpuNs: 0n, pids: 0n });
    await pod.update("c1", Buffer.from("{}"));
    expect(agent.updates).toMatchObject([{ container: "c1" }]);
    one.shim.tell({ case: "resize", value: { id: "c1", width: 80, height: 24 } });
    await pollUntil("resized", { ms: 5_000, everyMs: 5 }, () => agent.sizes[0]);
    expect(agent.sizes).toEqual([{ process: "c1/", width: 80, height: 24 }]);
  });

  test("execs are processes of the guest", async () => {
    const pod = await running();
    const process = Buffer.from(JSON.stringify({ args: ["true"], cwd: "/" }));
    const io = { terminal: false, stdin: true, argv: ["true"], env: [] };
    await pod.addExec({ ...EXEC, ...io, process });
    expect(one.shim.attached[1]).toMatchObject({ id: "c1", execId: "e1", guestExec: "e1" });
    await pod.start(EXEC, signal);
    expect(one.shim.statuses.get("c1/e1")).toMatchObject({ status: Status.RUNNING });
    await pod.kill(EXEC, { signal: 9, all: false });
    await pod.delete(EXEC);
    expect([...agent.processes.keys()]).toEqual(["c1/"]);
  });

  test("ends, and nothing of it is left", async () => {
    const pod = await running();
    one.shim.tell({ case: "processExited", value: { id: "c1", exitStatus: 3 } });
    await pollUntil("ended", { ms: 5_000, everyMs: 5 }, () =>
      stateOf(pod) === "ended" ? true : undefined,
    );
    await pod.delete(MAIN);
    expect(agent.containers.size).toBe(0);
    expect(one.shim.children.size).toBe(2);
    await pod.delete({ id: SANDBOX, execId: "" });
    await nothingLeft();
  });

  test("without a sandbox of its own ends with its container", async () => {
    const alone = await one.bundle("alone", { process: { args: ["sh"] }, linux: {} });
    one.shim.pod.bundle = alone;
    const pod = await engine.pod(one.ref);
    await pod.create({ ...task, id: SANDBOX, bundle: alone });
    expect(one.shim.children.get("vmm")).toMatchObject({ running: true, taskId: "" });
    await pod.delete({ id: SANDBOX, execId: "" });
    await nothingLeft();
  });
});

describe("what a guest cannot honour", () => {
  test.each([
    ["network", /hostNetwork: true is not possible/],
    ["pid", /hostPID/],
    ["ipc", /hostIPC/],
  ])("a sandbox without a %s namespace is refused", async (missing, reason) => {
    const namespaces = NAMESPACES.filter((type) => type !== missing);
    await one.bundle("sandbox", sandboxConfig({}, namespaces));
    const pod = await engine.pod(one.ref);
    await expect(pod.create(sandbox)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringMatching(reason) as string,
    });
    await nothingLeft();
  });

  test("annotations of another level are refused", async () => {
    await one.bundle("sandbox", sandboxConfig({ "trine.dev/firmware": "uefi" }));
    const pod = await engine.pod(one.ref);
    await expect(pod.create(sandbox)).rejects.toThrow(/level vm only/);
  });

  test("a volume that is a socket of the node is refused", async () => {
    const mounts = [{ destination: "/s", type: "bind", source: one.shim.address, options: [] }];
    await one.bundle("c1", { process: { args: ["sh"] }, mounts });
    const pod = await engine.pod(one.ref);
    await pod.create(sandbox);
    await expect(pod.create(task)).rejects.toThrow(/shim.sock is a socket/);
    await pod.delete({ id: SANDBOX, execId: "" });
    await nothingLeft();
  });
});

describe("a step that fails", () => {
  test.each(["mount", "spawn", "putState"] as const)(
    "%s: the sandbox leaves nothing behind and can be made again",
    async (method) => {
      const pod = await engine.pod(one.ref);
      one.shim.failOnce(method);
      await expect(pod.create(sandbox)).rejects.toThrow(/injected/);
      await nothingLeft();
      one.uids.release("another pod");
      await pod.create(sandbox);
      expect(one.shim.children.size).toBe(2);
    },
  );

  test("a VMM that does not start leaves nothing behind", async () => {
    const pod = await engine.pod(one.ref);
    one.driver.failStart = new Error("no memory");
    await expect(pod.create(sandbox)).rejects.toThrow(/no memory/);
    await nothingLeft();
  });

  test.each(["mount", "putState", "attachGuest"] as const)(
    "%s: a container's create leaves nothing behind and can be repeated",
    async (method) => {
      const pod = await engine.pod(one.ref);
      await pod.create(sandbox);
      one.shim.failOnce(method);
      await expect(pod.create(task)).rejects.toThrow(/injected/);
      expect([...one.shim.mounted]).toEqual([share(), slots()]);
      expect(await readdir(share())).toEqual([]);
      expect(agent.containers.size).toBe(0);
      expect(pod.summary().containers).toEqual([]);
      await pod.create(task);
      expect(stateOf(pod)).toBe("created");
    },
  );

  test("a container that the agent refuses leaves nothing behind and can be repeated", async () => {
    const pod = await engine.pod(one.ref);
    await pod.create(sandbox);
    agent.failOnce("createContainer", new TrineError("invalid", "injected"));
    await expect(pod.create(task)).rejects.toThrow(/injected/);
    expect(await readdir(share())).toEqual([]);
    agent.failOnce("createContainer", new TrineError("invalid", "injected"));
    await expect(pod.create(task)).rejects.toThrow(/injected/);
    await pod.create(task);
    expect(stateOf(pod)).toBe("created");
  });

  test.each(["describe", "revive", "mount"] as const)(
    "the agent's %s: the guest is made the pod's all the same",
    async (method) => {
      agent.failOnce(method, new TrineError("invalid", "injected"));
      await created();
      expect(agent.revived?.pod).toBe("k8s.io/sandbox1");
      expect(agent.mounts.size).toBe(2);
    },
  );

  test.each(["unmount", "putState"] as const)("%s: delete can be repeated", async (method) => {
    const pod = await running();
    one.shim.failOnce(method);
    await expect(pod.delete(MAIN)).rejects.toThrow(/injected/);
    await pod.delete(MAIN);
    expect(pod.summary().containers).toEqual([]);
    expect(await readdir(share())).toEqual([]);
  });

  test.each(["signal", "reap", "unmount", "putState"] as const)(
    "%s: the sandbox's delete can be repeated to its end",
    async (method) => {
      const pod = await running();
      one.shim.failOnce(method);
      await expect(pod.delete({ id: SANDBOX, execId: "" })).rejects.toThrow(/injected/);
      await pod.delete({ id: SANDBOX, execId: "" });
      await nothingLeft();
    },
  );
});

describe("a guest that fails", () => {
  test("its agent never answers: the create says so and the VMM is ended", async () => {
    await agent.die();
    one.bootMs = 200;
    engine = one.engine();
    const pod = await engine.pod(one.ref);
    await pod.create(sandbox);
    await writeFile(
      join(one.dir, "root/pods/p1/console.log"),
      "Kernel panic\u001b[0m - not syncing\n",
    );
    await expect(pod.create(task)).rejects.toMatchObject({
      kind: "timeout",
      message: expect.stringMatching(
        /did not come up \(its console ends: Kernel panic \[0m - not syncing\)/,
      ) as string,
    });
    await pollUntil("the pod has ended", { ms: 5_000, everyMs: 5 }, () =>
      one.shim.statuses.get(`${SANDBOX}/`)?.status === Status.STOPPED ? true : undefined,
    );
    expect(one.shim.children.get("vmm")?.running).toBe(false);
    await pod.delete({ id: SANDBOX, execId: "" });
    await nothingLeft();
  });

  test("it ends under its pod: every task ends with 137, calls are refused", async () => {
    const pod = await running();
    one.shim.end("vmm", { exitStatus: 1, reason: "guest-panicked" });
    await pollUntil("the guest has ended", { ms: 5_000, everyMs: 5 }, () =>
      pod.summary().machine?.state === "ended" ? true : undefined,
    );
    const stopped = { status: Status.STOPPED, exitStatus: 137 };
    expect([one.shim.statuses.get("c1/"), one.shim.statuses.get(`${SANDBOX}/`)]).toEqual([
      stopped,
      stopped,
    ]);
    await expect(pod.kill(MAIN, { signal: 9, all: true })).rejects.toMatchObject({
      kind: "notFound",
    });
    await pod.delete(MAIN);
    await pod.delete({ id: SANDBOX, execId: "" });
    await nothingLeft();
  });

  test("its file server ends: so does the guest", async () => {
    await running();
    one.shim.end("p9", { exitStatus: 1 });
    await pollUntil("the VMM has ended", { ms: 5_000, everyMs: 5 }, () =>
      one.shim.children.get("vmm")?.running === false ? true : undefined,
    );
  });

  test("a process that has ended is not there to be killed", async () => {
    const pod = await running();
    agent.failOnce("signal", new TrineError("wrongState", "c1/ has ended"));
    await expect(pod.kill(MAIN, { signal: 15, all: false })).rejects.toMatchObject({
      kind: "notFound",
    });
  });

  test("SIGKILL of a guest that hangs ends the guest", async () => {
    const pod = await running();
    agent.failOnce("signal", new TrineError("timeout", "no answer"));
    await pod.kill(MAIN, { signal: 9, all: true });
    expect(one.shim.children.get("vmm")?.running).toBe(false);
  });
});

describe("a daemon that returns", () => {
  const restart = async (): Promise<Pod> => {
    await engine.detach();
    engine = one.engine();
    expect(await engine.adoptAll()).toEqual({ adopted: 1, cleaned: 0 });
    return engine.pod(one.ref);
  };

  test.each([
    ["sandbox", async (): Promise<unknown> => (await engine.pod(one.ref)).create(sandbox)],
    ["created", created],
    ["running", running],
  ])("finds a pod that is %s, and goes on", async (_, make) => {
    await make();
    one.uids = newUids();
    const pod = await restart();
    expect(one.driver.recovered).toEqual([SANDBOX]);
    expect(one.uids.take("another pod")).toBe(1_900_000_001);
    await pod.create(sandbox);
    await pod.create(task);
    await pod.start(MAIN, signal);
    expect(stateOf(pod)).toBe("running");
    expect(one.shim.children.size).toBe(2);
    expect(agent.containers.size).toBe(1);
    expect(agent.revived?.pod).toBe("k8s.io/sandbox1");
  });

  test.each(["preparing", "booting"])("finishes a sandbox that was %s", async (state) => {
    const first = await engine.pod(one.ref);
    await first.create(sandbox);
    await engine.detach();
    const document = Buffer.from(one.shim.state).toString();
    one.shim.state = Buffer.from(document.replace('"booting"', JSON.stringify(state)));
    const pod = await restart();
    await pod.create(sandbox);
    await pod.create(task);
    expect(stateOf(pod)).toBe("created");
    expect(one.shim.children.size).toBe(2);
  });

  /** As a daemon left it that was killed while another guest was to take the place of the first. */
  const withoutGuest = async (how: "reaped" | "dead"): Promise<void> => {
    await (await engine.pod(one.ref)).create(sandbox);
    await pollUntil("linked", { ms: 5_000, everyMs: 5 }, () =>
      agent.mounts.has("/run/trine/shm") ? true : undefined,
    );
    await engine.detach();
    const document = Buffer.from(one.shim.state).toString();
    one.shim.state = Buffer.from(document.replace('"booting"', '"preparing"'));
    one.shim.statuses.set(`${SANDBOX}/`, { status: Status.RUNNING, exitStatus: 0 });
    one.shim.end("vmm", { exitStatus: 137, signal: 9 });
    if (how === "reaped") one.shim.children.delete("vmm");
  };

  test.each(["reaped", "dead"] as const)("starts the guest when the first is %s", async (how) => {
    await withoutGuest(how);
    const pod = await restart();
    expect(one.shim.children.get("vmm")?.running).toBe(true);
    await pod.create(task);
    expect(stateOf(pod)).toBe("created");
  });

  test("a guest that does not start then is the pod's end, and it can be deleted", async () => {
    await withoutGuest("reaped");
    one.driver.failStart = new Error("no memory");
    const pod = await restart();
    expect(pod.summary().machine?.state).toBe("ended");
    expect(one.shim.statuses.get(`${SANDBOX}/`)).toMatchObject({ exitStatus: 137 });
    await pod.delete({ id: SANDBOX, execId: "" });
    await nothingLeft();
  });

  test("one that does not start for a Create is left to it", async () => {
    await withoutGuest("reaped");
    one.shim.statuses.clear();
    one.driver.failStart = new Error("no memory");
    const pod = await restart();
    await pod.create(sandbox);
    await pod.create(task);
    expect(stateOf(pod)).toBe("created");
  });

  test.each(["createContainer", "attachGuest"])(
    "does again a create that died before %s was written down",
    async () => {
      await created();
      await engine.detach();
      const document = Buffer.from(one.shim.state).toString();
      one.shim.state = Buffer.from(document.replace('"created"', '"creating"'));
      const pod = await restart();
      await pod.create(task);
      expect(stateOf(pod)).toBe("created");
      expect(agent.containers.size).toBe(1);
      await pod.delete(MAIN);
      expect(await readdir(share())).toEqual([]);
    },
  );

  test("connects the network that a daemon which died in a create has not", async () => {
    one.shim.netns = "/run/netns/p";
    await (await engine.pod(one.ref)).create(sandbox);
    expect(one.shim.programs).toContain("nft");
    await engine.detach();
    one.shim.programs.length = 0;
    const pod = await restart();
    await pod.create(sandbox);
    expect(one.shim.programs).toContain("nft");
    await pod.create(task);
    expect(stateOf(pod)).toBe("created");
  });

  test("an end of the guest while it was away is known at once", async () => {
    await running();
    await engine.detach();
    one.shim.end("vmm", { exitStatus: 3 });
    const pod = await restart();
    expect(pod.summary().machine?.state).toBe("ended");
    expect(one.shim.statuses.get("c1/")).toMatchObject({ exitStatus: 137 });
  });

  test("takes apart what was deleted while it was away", async () => {
    await running();
    await engine.detach();
    one.shim.tasks.delete("c1");
    const pod = await restart();
    expect(pod.summary().containers).toEqual([]);
    expect(agent.containers.size).toBe(0);
    await engine.detach();
    one.shim.tasks.clear();
    await restart();
    await nothingLeft();
  });
});

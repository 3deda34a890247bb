import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { FakeAgent } from "@trine/guest-link/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Engine } from "../engine.ts";
import { decodeDocument, encodeDocument } from "../pod-document.ts";
import type { Pod } from "../pod.ts";
import { OnePod, SANDBOX } from "../testing/test-engine.ts";

const MIB = 1024 * 1024;

let one: OnePod;
let agent: FakeAgent;
let engine: Engine;

beforeEach(async () => {
  one = await OnePod.make({
    hostname: "pod1",
    annotations: {
      "io.kubernetes.cri.container-type": "sandbox",
      "io.kubernetes.cri.sandbox-memory": `${256 * MIB}`,
      "io.kubernetes.cri.sandbox-cpu-quota": "100000",
    },
    linux: { namespaces: ["network", "pid", "ipc", "uts", "mount"].map((type) => ({ type })) },
  });
  one.guestImage = () => Promise.resolve({ kernel: "/k", initrd: "/i", commandLine: "quiet" });
  one.shim.runtime = "containerd-shim-trine-microvm-v2";
  one.shim.tasks.add(SANDBOX);
  agent = new FakeAgent(join(one.podDir, "guest.sock"));
  agent.cpus = () => one.driver.size.cpus;
  await agent.listen();
  engine = one.engine();
});

afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await agent.die();
});

const io = { terminal: true, stdin: false };

/** A pod of one container that may use all of the pod's 256 MiB. */
async function created(): Promise<Pod> {
  const pod = await engine.pod(one.ref);
  await pod.create({ id: SANDBOX, bundle: join(one.dir, "sandbox"), rootfs: [], ...io });
  const bundle = await one.bundle("c1", {
    process: { args: ["sh"] },
    linux: {
      resources: { memory: { limit: 256 * MIB }, cpu: { quota: 100_000, period: 100_000 } },
    },
  });
  await pod.create({ id: "c1", bundle, rootfs: [], ...io });
  return pod;
}

const resources = (mib: number, cpus = 1): Uint8Array =>
  Buffer.from(
    JSON.stringify({ memory: { limit: mib * MIB }, cpu: { quota: cpus * 1e5, period: 1e5 } }),
  );

const has = (): string => `${one.driver.size.cpus}-${one.driver.size.memoryBytes / MIB}`;
const spawned = (): number => one.shim.calls.filter((call) => call === "spawn").length;

test("a guest begins with the node's size and has its pod's before anything runs in it", async () => {
  await created();
  expect(decodeDocument(one.shim.state).guest?.spec.memoryBytes).toBe(128 * MIB);
  expect(has()).toBe("1-256");
});

test("the guest grows before a limit is raised, and becomes smaller with it again", async () => {
  const pod = await created();
  await pod.update("c1", resources(512, 2));
  expect(has()).toBe("2-512");
  expect(pod.summary().machine).toMatchObject({ cpus: 2, memoryBytes: 512 * MIB });
  await pod.update("c1", resources(200));
  expect(has()).toBe("1-200");
  expect(agent.updates).toHaveLength(2);
  expect(decodeDocument(one.shim.state).guest?.containers["c1"]?.limits).toEqual({
    memoryBytes: 200 * MIB,
    cpus: 1,
  });
});

test("a growth is believed when the guest counts it, not before, however often its VMM does", async () => {
  const pod = await created();
  const base = decodeDocument(one.shim.state).guest?.spec.memoryBytes ?? Number.NaN;
  const counted = [0, 128, 128, 128, 128, 128, 384].map((mib) => mib * MIB);
  let looks = 0;
  agent.added = () => counted[Math.min(looks++, counted.length - 1)];
  await pod.update("c1", resources(base / MIB + 384));
  expect(looks).toBe(counted.length);
  // A smaller one it has at once.
  await pod.update("c1", resources(200));
  expect(looks).toBe(counted.length + 1);
});

test("a change of the CPUs alone leaves the limit of memory as it was", async () => {
  const pod = await created();
  await pod.update("c1", Buffer.from(JSON.stringify({ cpu: { quota: 200_000, period: 100_000 } })));
  expect(decodeDocument(one.shim.state).guest?.containers["c1"]?.limits).toEqual({
    memoryBytes: 256 * MIB,
    cpus: 2,
  });
  await pod.update("c1", Buffer.from(JSON.stringify({ memory: { limit: 200 * MIB } })));
  expect(has()).toBe("2-200");
});

test("a guest that keeps its processors puts those beyond its limits out of use, as far as it can", async () => {
  const pod = await created();
  one.driver.keepsCpus = true;
  await pod.update("c1", resources(256, 2));
  agent.wantedCpus.length = 0;
  await pod.update("c1", resources(256, 1));
  expect([has(), agent.wantedCpus.at(-1)]).toEqual(["2-256", 1]);
  expect(pod.summary().machine).toMatchObject({ cpus: 1 });
  await pod.update("c1", resources(256, 2));
  expect(agent.wantedCpus.at(-1)).toBe(2);
  // One of an earlier release puts into use all there is, whatever it is told.
  agent.heedsCpus = false;
  await pod.update("c1", resources(256, 1));
  expect(pod.summary().machine).toMatchObject({ cpus: 1 });
});

test("a guest that does not give memory back leaves its limits as they were, and says so", async () => {
  const pod = await created();
  one.driver.failResizes = 1;
  const failed = pod.update("c1", resources(200));
  await expect(failed).rejects.toThrow("change the size of the pod's guest: the guest does not");
  expect(agent.updates).toEqual([]);
  expect(has()).toBe("1-256");
  expect(pod.summary().machine).toMatchObject({ memoryBytes: 256 * MIB });
  await pod.update("c1", resources(200));
  expect(has()).toBe("1-200");
});

test("limits that the guest's agent refuses leave its size as it was", async () => {
  const pod = await created();
  agent.failOnce("update", new TrineError("wrongState", "unable to set memory limit"));
  await expect(pod.update("c1", resources(512))).rejects.toThrow("unable to set memory limit");
  expect(has()).toBe("1-256");
});

test("beyond what its machine can have nothing changes", async () => {
  const pod = await created();
  await expect(pod.update("c1", resources(20 * 1024))).rejects.toMatchObject({ kind: "exhausted" });
  expect(agent.updates).toEqual([]);
});

test("limits are lowered also below what the machine began with, which it keeps", async () => {
  const pod = await created();
  await pod.update("c1", resources(100));
  expect(has()).toBe("1-128");
  expect(agent.updates).toHaveLength(1);
  await pod.update("c1", resources(300));
  expect(has()).toBe("1-300");
});

test("a guest does not grow over its pod's own limit", async () => {
  const pod = await created();
  const group = join(one.dir, "cgroup/pod/sandbox");
  await mkdir(group, { recursive: true });
  await writeFile(join(one.dir, "cgroup/pod/memory.max"), `${400 * MIB}`);
  one.shim.cgroups = [group];
  await engine.detach();
  engine = one.engine();
  const again = await engine.pod(one.ref);
  await expect(again.update("c1", resources(380))).rejects.toThrow("exceed the pod's limit of 400");
  expect(pod.identity).toEqual(again.identity);
  expect(has()).toBe("1-256");
});

/** The pod under the next daemon, as one left it that was killed while the guest was to become smaller. */
async function killedInBetween(failResizes: number): Promise<Pod> {
  await (await created()).update("c1", resources(512));
  const document = decodeDocument(one.shim.state);
  const { guest } = document;
  if (guest === undefined) throw new Error("no guest");
  // As it is written down before the guest is asked.
  const size = { cpus: 1, memoryBytes: 200 * MIB };
  Object.assign(guest, { size, formerSize: guest.size });
  await engine.detach();
  one.shim.state = encodeDocument(document);
  one.driver.size.memoryBytes = 300 * MIB; // so far it had come
  one.driver.failResizes = failResizes;
  engine = one.engine();
  return engine.pod(one.ref);
}

test("a guest whose daemon is killed in between goes back to what it had", async () => {
  const pod = await killedInBetween(0);
  await pod.update("c1", Buffer.from("{}"));
  expect(has()).toBe("1-512");
  expect(pod.summary().machine).toMatchObject({ memoryBytes: 512 * MIB });
  expect(decodeDocument(one.shim.state).guest).not.toHaveProperty("formerSize");
});

test("one that does not go back either stays in reach, and its containers run on", async () => {
  const pod = await killedInBetween(1);
  await pod.kill({ id: "c1", execId: "" }, { signal: 9, all: true });
  expect(agent.signals).toMatchObject([{ signal: 9 }]);
  expect(one.shim.children.get("vmm")?.running).toBe(true);
  expect(decodeDocument(one.shim.state).guest?.size?.memoryBytes).toBe(512 * MIB);
  await pod.update("c1", resources(200));
  expect(has()).toBe("1-200");
});

test("a guest that follows neither there nor back is tried again by the next daemon", async () => {
  const pod = await created();
  one.driver.failResizes = 2;
  await expect(pod.update("c1", resources(512))).rejects.toThrow("change the size");
  one.driver.size.memoryBytes = 300 * MIB;
  await engine.detach();
  engine = one.engine();
  await (await engine.pod(one.ref)).update("c1", Buffer.from("{}"));
  expect(has()).toBe("1-256");
});

test("a guest that does not grow at its start makes place for one that boots with all of it", async () => {
  one.driver.failResizes = 1;
  const pod = await created();
  expect(has()).toBe("1-256");
  expect(spawned()).toBe(3); // the file server, and two VMMs
  expect(pod.summary().machine).toMatchObject({
    start: { how: "cold", why: "unfit", detail: "the guest does not follow" },
  });
  await expect(pod.update("c1", resources(512))).rejects.toThrow("can have 256 MiB at most");
  await pod.update("c1", resources(200));
  expect([has(), agent.updates.length]).toEqual(["1-256", 1]);
});

import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { FakeAgent } from "@trine/guest-link/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Engine } from "../engine.ts";
import { decodeDocument, encodeDocument } from "../pod-document.ts";
import type { Pod } from "../pod.ts";
import type { CreateTask } from "../requests.ts";
import { FIRST_UID, OnePod, SANDBOX, newUids } from "../testing/test-engine.ts";
import { NOBODYS_NETWORK } from "./spare-identity.ts";

const MIB = 1024 * 1024;
const NAME = "abc1234";
const SIZE = { cpus: 1, memoryBytes: 128 * MIB };

let one: OnePod;
let agent: FakeAgent;
let engine: Engine;
let sandbox: CreateTask;

beforeEach(async () => {
  one = await OnePod.make({
    hostname: "pod1",
    annotations: { "io.kubernetes.cri.container-type": "sandbox" },
    linux: { namespaces: ["network", "pid", "ipc", "uts", "mount"].map((type) => ({ type })) },
  });
  one.guestImage = () => Promise.resolve({ kernel: "/k", initrd: "/i", commandLine: "quiet" });
  one.shim.runtime = "containerd-shim-trine-microvm-v2";
  one.shim.tasks.add(SANDBOX);
  agent = new FakeAgent(join(one.podDir, "guest.sock"));
  await agent.listen();
  engine = one.engine();
  sandbox = {
    id: SANDBOX,
    bundle: join(one.dir, "sandbox"),
    rootfs: [],
    terminal: false,
    stdin: false,
  };
  for (const [key, pid] of [
    ["p9", 4_000_001],
    ["vmm", 4_000_002],
  ] as const) {
    one.shim.children.set(key, { key, running: true, pid });
  }
  one.shim.state = await brought({});
});

afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await agent.die();
});

/** The document of a shim that was claimed for the pod, its spare made as this daemon would make it. */
async function brought(other: { key?: string; cpus?: number; mtu?: number }): Promise<Uint8Array> {
  const key = other.key ?? (await engine.spares.keyOf(SIZE));
  return encodeDocument({
    version: 1,
    execs: {},
    spare: {
      name: NAME,
      key,
      guest: {
        taskId: "",
        uid: FIRST_UID,
        oomScoreAdj: 0,
        state: "booting",
        containers: {},
        spec: {
          id: NAME,
          uuid: "u",
          ...SIZE,
          cpus: other.cpus ?? 1,
          accelerator: "tcg",
          disks: [],
          nics: [{ name: "eth0", tap: "tap0", mac: NOBODYS_NETWORK.mac, mtu: other.mtu ?? 1500 }],
          display: false,
          guestAgent: false,
          console: "serial",
        },
      },
    },
  });
}

async function create(): Promise<Pod> {
  const pod = await engine.pod(one.ref);
  await pod.create(sandbox);
  return pod;
}

const spawned = (): number => one.shim.calls.filter((call) => call === "spawn").length;

test("the guest that came with the shim is the pod's: nothing is started, only revived", async () => {
  const pod = await create();
  expect(spawned()).toBe(0);
  expect(one.driver.recovered).toEqual([NAME]);
  expect(pod.summary().machine).toMatchObject({ state: "booting", memoryBytes: 128 * MIB });
  const document = decodeDocument(one.shim.state);
  expect(document.guest).toMatchObject({ uid: FIRST_UID, start: { how: "spare" } });
  expect(document.spare).toBeUndefined();
  expect(engine.spares.claims).toMatchObject({ used: 1, refused: 0 });
  const container = await one.bundle("c1", { process: { args: ["sh"] } });
  await pod.create({ ...sandbox, id: "c1", bundle: container });
  expect(agent.revived).toMatchObject({ pod: "k8s.io/sandbox1", provisional: false });
});

test("its user id and its console's files are the pod's as soon as the daemon knows of it", async () => {
  const made = join(one.dir, "root/spares", NAME);
  await mkdir(made, { recursive: true });
  await writeFile(join(made, "console.log"), "booted");
  one.uids = newUids();
  engine = one.engine();
  await engine.pod(one.ref);
  expect(one.uids.take("another pod")).toBe(FIRST_UID + 1);
  expect(await readdir(join(one.dir, "root/pods"))).toEqual(["p1"]);
});

test.each([
  ["of another kernel", { key: "old" }],
  ["of another size", { cpus: 2 }],
])("one %s is ended, and the pod boots its own", async (_, other) => {
  one.shim.state = await brought(other);
  const pod = await create();
  expect(one.shim.calls.filter((call) => call === "reap")).toHaveLength(2);
  expect(spawned()).toBe(2);
  expect(one.driver.recovered).toEqual([]);
  // The end of the spare's own VMM is told later, and is not that of the pod's.
  await pollUntil("the events", { ms: 5_000, everyMs: 5 }, () => one.shim.isHeard || undefined);
  expect(pod.summary().machine?.state).toBe("booting");
  expect(engine.spares.claims).toMatchObject({ used: 0, refused: 1 });
  expect(decodeDocument(one.shim.state).spare).toBeUndefined();
});

test.each(["vmm", "p9"])("one whose %s has ended is of no use, and the pod boots", async (key) => {
  one.shim.end(key, { exitStatus: 1 });
  await create();
  expect(spawned()).toBe(2);
});

test("one whose monitor does not answer is ended, and the pod boots", async () => {
  one.driver.failRecover = new TrineError("unavailable", "no monitor");
  const pod = await create();
  expect(spawned()).toBe(2);
  expect(pod.summary().machine?.state).toBe("booting");
});

test("a create that fails takes apart what came with the shim", async () => {
  one.shim.failOnce("putState");
  await expect(create()).rejects.toThrow("putState");
  expect(one.shim.children).toEqual(new Map());
  expect(one.uids.take("another pod")).toBe(FIRST_UID);
});

test("where no spares are kept no pod has missed one", async () => {
  one.shim.state = new Uint8Array();
  one.shim.children.clear();
  await create();
  expect(engine.spares.claims).toEqual({ used: 0, missed: 0, refused: 0 });
});

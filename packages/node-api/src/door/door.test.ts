import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { TrineError, pollUntil } from "@trine/base";
import { openDoor } from "@trine/node-door";
import type { DoorCredentials, DoorEvent, MachineReport, NodeDoor } from "@trine/node-door";
import { KubeAuthority } from "@trine/testkit";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { DoorEngine, DoorPod } from "./door-machines.ts";
import { DoorServer } from "./serve-door.ts";

const NODE = "node-1";
const REF = { namespace: "default", pod: "vm", uid: "u1" };
const REPORT: MachineReport = {
  ...REF,
  sandboxId: "s1",
  phase: "running",
  since: "2026-01-02T03:04:05.678Z",
  accelerator: "tcg",
  cpus: { sockets: 1, cores: 1, threads: 1 },
  memory: { guestBytes: 64, overheadBytes: 0 },
  interfaces: [
    { name: "eth0", mac: "02:00:00:00:00:01", addresses: ["10.1.0.2"], fromGuest: false },
  ],
  agent: { connected: false, frozen: false },
  disks: [{ name: "root", path: "/disk" }],
};

type Name = "control" | "api" | "kubelet" | "other-node" | "node" | "stranger";

let dir: string;
let own: KubeAuthority;
let others: KubeAuthority;
const pairs = new Map<Name, DoorCredentials>();

async function sign(
  authority: KubeAuthority,
  name: Name,
  user: string,
  serves?: string,
): Promise<void> {
  const names = serves === undefined ? {} : { names: [serves] };
  const { cert, key } = await authority.sign(name, { user, ...names });
  pairs.set(name, {
    certificate: await readFile(cert, "utf8"),
    key: await readFile(key, "utf8"),
    authority: await readFile(own.cert, "utf8"),
  });
}

const credentials = (name: Name): DoorCredentials => {
  const found = pairs.get(name);
  if (found === undefined) throw new Error(name);
  return found;
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-door-"));
  own = await KubeAuthority.create(join(dir, "own"));
  others = await KubeAuthority.create(join(dir, "others"));
  await sign(own, "control", "trine-control");
  await sign(own, "api", "trine-virt-api");
  await sign(own, "kubelet", "system:node:node-1");
  await sign(own, "node", "trine-node:node-1", NODE);
  await sign(own, "other-node", "trine-node:node-2", NODE);
  await sign(others, "stranger", "trine-control");
}, 60_000);

afterAll(() => rm(dir, { recursive: true }));

/** A node with one machine, in memory. */
class OneMachine implements DoorEngine {
  report: MachineReport | undefined = REPORT;
  readonly done: string[] = [];
  readonly #listeners = new Set<() => void>();
  looks = 0;

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  become(report: MachineReport | undefined): void {
    this.report = report;
    for (const listener of this.#listeners) listener();
  }

  machinePods(): Promise<DoorPod[]> {
    const did = (what: string) => (): Promise<void> => {
      this.done.push(what);
      return Promise.resolve();
    };
    const control: Partial<NonNullable<DoorPod["control"]>> = {
      taskId: "c1",
      isNews: false,
      consoleSocket: join(dir, "console.sock"),
      report: () => this.report,
      look: () => {
        this.looks += 1;
        return Promise.resolve();
      },
      freeze: (ms) => did(`freeze ${ms}`)(),
      thaw: () => Promise.reject(new TrineError("unavailable", "the agent is silent")),
      softReboot: () => Promise.reject(new TypeError("a secret of ours")),
      reset: did("reset"),
    };
    const giveSize = (task: string, size: object): Promise<void> =>
      did(`${task} has ${JSON.stringify(size)}`)();
    const pod = { control, pause: did("pause"), resume: did("resume"), giveSize };
    return Promise.resolve([pod as unknown as DoorPod]);
  }
}

let engine: OneMachine;
let server: DoorServer;
const doors: NodeDoor[] = [];

function listen(port = 0, as: Name = "node"): Promise<DoorServer> {
  const log = pino({ level: "silent" });
  const clients = ["trine-control", "trine-virt-api"];
  return DoorServer.listen({
    engine,
    log,
    metrics: () => Promise.resolve("trine_machines 1\n"),
    credentials: credentials(as),
    clients,
    host: "127.0.0.1",
    port,
  });
}

function door(as: Name = "control"): NodeDoor {
  const at = { node: NODE, host: "127.0.0.1", port: server.port };
  const opened = openDoor({ ...at, credentials: () => credentials(as) });
  doors.push(opened);
  return opened;
}

beforeEach(async () => {
  engine = new OneMachine();
  server = await listen();
});

afterEach(async () => {
  for (const each of doors.splice(0)) each.close();
  await server.close();
});

test("what the node uses is told to the control plane, and to no other node", async () => {
  expect(await door().metrics()).toBe("trine_machines 1\n");
  await expect(door("other-node").metrics()).rejects.toMatchObject({ kind: "forbidden" });
});

test("a machine is told as it is, by its pod's names and its uid", async () => {
  expect(await door().machines()).toEqual([REPORT]);
  expect(await door().machine(REF)).toEqual(REPORT);
  await expect(door().machine({ ...REF, uid: "u2" })).rejects.toMatchObject({ kind: "conflict" });
  await expect(door().machine({ ...REF, pod: "a/b?c" })).rejects.toMatchObject({
    kind: "notFound",
  });
  engine.report = undefined;
  await expect(door().machine(REF)).rejects.toMatchObject({ kind: "notFound" });
});

test("only named certificates of the cluster's authority come in", async () => {
  for (const name of ["kubelet", "other-node"] as const) {
    await expect(door(name).machines()).rejects.toMatchObject({ kind: "forbidden" });
    await expect(door(name).console(REF)).rejects.toMatchObject({ kind: "forbidden" });
  }
  const refused = await door("stranger")
    .machines()
    .catch((cause: unknown) => cause);
  expect(refused).toBeInstanceOf(TrineError);
  const at = { node: NODE, host: "127.0.0.1", port: server.port };
  const nobody = openDoor({
    ...at,
    credentials: () => ({ ...credentials("control"), certificate: "", key: "" }),
  });
  await expect(nobody.machines()).rejects.toBeInstanceOf(TrineError);
  nobody.close();
  expect(engine.done).toEqual([]);
});

test("another node's certificate opens no door, nor a node's own", async () => {
  for (const name of ["other-node", "node"] as const) {
    const at = { node: NODE, host: "127.0.0.1", port: server.port };
    const asNode = openDoor({ ...at, credentials: () => credentials(name) });
    await expect(asNode.machines()).rejects.toMatchObject({ kind: "forbidden" });
    await expect(asNode.act(REF, "pause")).rejects.toMatchObject({ kind: "forbidden" });
    await expect(asNode.console(REF)).rejects.toMatchObject({ kind: "forbidden" });
    asNode.close();
  }
  expect(engine.done).toEqual([]);
});

test("a node that shows another node's certificate is not talked to", async () => {
  await server.close();
  server = await listen(0, "other-node");
  await expect(door().machines()).rejects.toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining("not trine-node:node-1") as string,
  });
});

test("what is done to a machine reaches it, in its words when it cannot be", async () => {
  await door().act(REF, "pause");
  await door().act(REF, "unpause");
  await door().act(REF, "freeze", { unfreezeAfterMs: 1_500 });
  await door().act(REF, "freeze");
  await door().act(REF, "reset");
  expect(engine.done).toEqual(["pause", "resume", "freeze 1500", "freeze 300000", "reset"]);
  const silent = {
    kind: "wrongState",
    message: expect.stringMatching(/agent is silent/) as string,
  };
  await expect(door().act(REF, "unfreeze")).rejects.toMatchObject(silent);
  const bug = door().act(REF, "softreboot");
  await expect(bug).rejects.toMatchObject({
    kind: "internal",
    message: expect.not.stringContaining("secret") as string,
  });
  engine.report = { ...REPORT, phase: "paused" };
  await expect(door().act(REF, "freeze")).rejects.toMatchObject({ kind: "wrongState" });
});

test("a machine's size is trine-control's to say, in whole numbers, while it runs", async () => {
  const size = { cpus: 2, memoryBytes: 2 ** 30 };
  await door().resize(REF, size);
  expect(engine.done).toEqual([`c1 has ${JSON.stringify(size)}`]);
  await expect(door("api").resize(REF, size)).rejects.toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining("trine-control alone") as string,
  });
  await door("api").act(REF, "reset");
  for (const wrong of [{ cpus: 0 }, { cpus: 1.5 }, { memoryBytes: -1 }, { memoryBytes: 2 ** 60 }]) {
    await expect(door().resize(REF, { ...size, ...wrong })).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining(Object.keys(wrong)[0] ?? "") as string,
    });
  }
  engine.report = { ...REPORT, phase: "paused" };
  await expect(door().resize(REF, size)).rejects.toMatchObject({ kind: "wrongState" });
  expect(engine.done.slice(1)).toEqual(["reset"]);
});

/** Takes events until there are as many. */
async function take(events: AsyncIterator<DoorEvent>, count: number): Promise<DoorEvent[]> {
  const taken: DoorEvent[] = [];
  while (taken.length < count) {
    const next = await events.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}

test("a watch tells changes, a loss once, and everything anew when the node is back", async () => {
  const over = new AbortController();
  const events = door().watch(over.signal)[Symbol.asyncIterator]();
  expect(await take(events, 1)).toEqual([{ type: "state", items: [REPORT] }]);
  const paused: MachineReport = { ...REPORT, phase: "paused" };
  engine.become({ ...REPORT, phase: "failed" });
  engine.become(paused); // within the same moment: told once
  expect(await take(events, 1)).toEqual([{ type: "machine", object: paused }]);
  engine.become(undefined);
  expect(await take(events, 1)).toEqual([{ type: "gone", ...REF }]);

  const { port } = server;
  await server.close();
  expect(await take(events, 1)).toMatchObject([{ type: "lost" }]);
  engine.report = REPORT;
  server = await listen(port);
  expect(await take(events, 1)).toEqual([{ type: "state", items: [REPORT] }]);
  over.abort();
  expect(await events.next()).toEqual({ done: true, value: undefined });
});

test("a new certificate is shown to who comes next, and a watch that is open goes on", async () => {
  const over = new AbortController();
  const events = door().watch(over.signal)[Symbol.asyncIterator]();
  await take(events, 1);
  server.renew(credentials("other-node"));
  await expect(door().machines()).rejects.toMatchObject({ kind: "forbidden" });
  server.renew(credentials("node"));
  expect(await door().machines()).toHaveLength(1);
  engine.become(undefined);
  expect(await take(events, 1)).toEqual([{ type: "gone", ...REF }]);
  over.abort();
  await events.next();
});

test("the console is one caller's: the last one's, unless it leaves it to who has it", async () => {
  await mkdir(join(dir, "pens"), { recursive: true });
  const path = join(dir, "console.sock");
  const machine = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => machine.listen(path, resolve));
  try {
    const first = await door().console(REF);
    first.write("hello");
    expect(String(await new Promise((resolve) => first.once("data", resolve)))).toBe("hello");
    const kept = door().console(REF, { preserveSession: true });
    await expect(kept).rejects.toMatchObject({ kind: "conflict" });
    const closed = new Promise((resolve) => first.once("close", resolve));
    first.resume();
    const second = await door().console(REF);
    await closed;
    second.end("x".repeat(100_000));
    expect(await text(second)).toHaveLength(100_000);
    const third = await pollUntil("the console is free", { ms: 20_000 }, () =>
      door()
        .console(REF, { preserveSession: true })
        .catch(() => undefined),
    );
    third.destroy();
  } finally {
    machine.close();
  }
});

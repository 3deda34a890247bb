// Bytes that are no ttrpc, and calls no shim would make, on the sockets of the daemon and of a living pod.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { type Socket, connect } from "node:net";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { errnoOf, pollUntil, withDeadline } from "@trine/base";
import { Task } from "@trine/proto/task";
import { RequestSchema } from "@trine/proto/ttrpc";
import { type RunningPod } from "@trine/testkit";
import { TtrpcClient } from "@trine/ttrpc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NodeUnderTest } from "./node-under-test.ts";

const CONNECTIONS = 2_000;
const REQUEST = 1;

function frame(of: { length?: number; stream?: number; kind?: number; body?: Uint8Array }): Buffer {
  const body = of.body ?? new Uint8Array();
  const head = Buffer.alloc(10);
  head.writeUInt32BE(of.length ?? body.length, 0);
  head.writeUInt32BE(of.stream ?? 1, 4);
  head.writeUInt8(of.kind ?? REQUEST, 8);
  return Buffer.concat([head, body]);
}

function request(service: string, method: string, payload = new Uint8Array()): Uint8Array {
  return toBinary(RequestSchema, create(RequestSchema, { service, method, payload }));
}

const TASK = "containerd.task.v2.Task";

const PIECES: readonly { readonly name: string; readonly bytes: () => Buffer }[] = [
  { name: "random bytes", bytes: () => randomBytes(64 * 1024) },
  { name: "zeros", bytes: () => Buffer.alloc(64 * 1024) },
  { name: "an oversized length", bytes: () => frame({ length: 0xffff_ffff }) },
  { name: "a length just over the limit", bytes: () => frame({ length: (4 << 20) + 1 }) },
  { name: "half a header", bytes: () => frame({}).subarray(0, 5) },
  { name: "half a body", bytes: () => frame({ length: 1 << 20, body: randomBytes(100) }) },
  { name: "an envelope that is none", bytes: () => frame({ body: randomBytes(500) }) },
  { name: "an unknown service", bytes: () => frame({ body: request("no.such.Service", "Do") }) },
  { name: "an unknown method", bytes: () => frame({ body: request(TASK, "Explode") }) },
  {
    name: "a payload of another type",
    bytes: () => frame({ body: request(TASK, "Create", randomBytes(300)) }),
  },
  { name: "an unknown kind of frame", bytes: () => frame({ kind: 77, body: randomBytes(10) }) },
  { name: "an even stream", bytes: () => frame({ stream: 2, body: request(TASK, "State") }) },
  {
    name: "streams that go back",
    bytes: () =>
      Buffer.concat([7, 5, 7].map((stream) => frame({ stream, body: request(TASK, "State") }))),
  },
  {
    name: "a thousand calls at once",
    bytes: () =>
      Buffer.concat(
        Array.from({ length: 3_000 }, (_, i) =>
          frame({ stream: 2 * i + 1, body: request(TASK, "Stats") }),
        ),
      ),
  },
];

/** Waits while the queue of the socket is full, as any client does (EAGAIN of connect(2)). */
function open(path: string): Promise<Socket> {
  return pollUntil("a connection", { ms: 20_000, everyMs: 10 }, async () => {
    const socket = connect(path);
    socket.on("error", () => undefined); // the other side may end it at any time, rightly
    try {
      await Promise.race([once(socket, "connect"), once(socket, "close")]);
      return socket;
    } catch (cause) {
      if (errnoOf(cause) === "EAGAIN") return undefined;
      throw cause;
    }
  });
}

describe("bytes nobody should send", () => {
  let at: NodeUnderTest;
  let pod: RunningPod;
  let shimPid: number;
  let vmmPid: number;
  let trinedPid: number;

  beforeAll(async () => {
    at = await NodeUnderTest.start("1.6");
    pod = await at.booted("steady");
    shimPid = (await at.view(pod)).shim.pid;
    vmmPid = await at.vmm(pod);
    trinedPid = at.trinedPid;
  }, 1_800_000);

  afterAll(() => at.end());

  async function fdCount(pid: number): Promise<number> {
    return (await readdir(`/proc/${pid}/fd`)).length;
  }

  async function expectAllWell(): Promise<void> {
    expect(await at.sh(pod, "echo well")).toMatchObject({ exitCode: 0, stdout: "well\n" });
    expect(await at.isReady()).toBe(true);
    expect(at.trinedPid).toBe(trinedPid);
    const view = await at.view(pod);
    expect([view.shim.pid, view.machine?.pid, view.machine?.state]).toEqual([
      shimPid,
      vmmPid,
      "running",
    ]);
  }

  const socketPath = async (of: string): Promise<string> =>
    of === "trined"
      ? join(at.node.stateDir, "trined.sock")
      : join(await at.podDir(pod), "shim.sock");

  describe.each(["trined", "shim"])("on the socket of the %s", (of) => {
    test.each(PIECES)("$name", async ({ bytes }) => {
      const pid = of === "trined" ? trinedPid : shimPid;
      const before = await fdCount(pid);
      const path = await socketPath(of);
      const held = await open(path);
      held.write(bytes());
      held.resume();
      const dropped = await open(path);
      dropped.write(bytes());
      dropped.destroy();
      await expectAllWell();
      held.destroy();
      await pollUntil("its descriptors are closed", { ms: 10_000 }, async () =>
        (await fdCount(pid)) <= before ? true : undefined,
      );
    });

    test("thousands of connections", async () => {
      const pid = of === "trined" ? trinedPid : shimPid;
      const before = await fdCount(pid);
      const path = await socketPath(of);
      const all: Socket[] = [];
      for (let i = 0; i < CONNECTIONS; i += 1) all.push(await open(path));
      await expectAllWell();
      for (const socket of all) socket.destroy();
      await expectAllWell();
      await pollUntil("its descriptors are closed", { ms: 20_000 }, async () =>
        (await fdCount(pid)) <= before ? true : undefined,
      );
    });
  });

  test("odd requests on the node API", async () => {
    const path = join(at.node.stateDir, "api.sock");
    const lines = ["GET // HTTP/1.1", "GET http://[ HTTP/1.1", "NOPE / HTTP/1.1", "\0\0\0"];
    for (const line of lines) {
      const socket = await open(path);
      socket.resume().end(`${line}\r\nHost: node\r\nConnection: close\r\n\r\n`);
      await withDeadline(`answer to ${line}`, 10_000, once(socket, "close"));
    }
    await expectAllWell();
  });

  describe("task calls no shim would make", () => {
    const meta = (more: Record<string, string> = {}): Record<string, string> => ({
      "trine-protocol": "1",
      "trine-namespace": "k8s.io",
      "trine-sandbox": pod.podSandboxId,
      "trine-request": "test-1",
      ...more,
    });

    /** By default a signal no machine takes: whoever gets it refuses it with words of its own. */
    async function call(metadata: Record<string, string>, signal = 99): Promise<unknown> {
      const client = await TtrpcClient.connect(join(at.node.stateDir, "trined.sock"));
      try {
        return await client
          .service(Task)
          .kill({ id: pod.containerId, signal }, { metadata, timeoutMs: 30_000 });
      } finally {
        client.close();
      }
    }

    test("without metadata", async () => {
      await expect(call({}, 9)).rejects.toThrow(/trine-\w+.*only a pod's shim/);
      await expectAllWell();
    });

    test.each([
      ["nowhere", "/nonexistent/shim.sock"],
      ["trined itself", "STATE/trined.sock"],
      ["a file outside of the state directory", "/etc/passwd"],
      ["the node API", "STATE/api.sock"],
    ])("with an address that leads to %s", async (_, address) => {
      const path = address.replace("STATE", at.node.stateDir);
      const metadata = meta({ "trine-sandbox": "f".repeat(64), "trine-address": path });
      await expect(withDeadline("the refusal", 20_000, call(metadata, 9))).rejects.toThrow(path);
      await expectAllWell();
      expect(await at.views()).toHaveLength(1);
    });

    test("another pod's address under a name of its own", async () => {
      const address = join(await at.podDir(pod), "shim.sock");
      const metadata = meta({ "trine-sandbox": "e".repeat(64), "trine-address": address });
      await expect(call(metadata, 9)).rejects.toThrow(/trine-address leads to the shim of pod/);
      await expectAllWell();
      expect(await at.views()).toHaveLength(1);
    });

    test("a known pod's name with another address goes to the pod", async () => {
      const metadata = meta({ "trine-address": "/nonexistent/shim.sock" });
      await expect(call(metadata)).rejects.toThrow(/signal 99 means nothing to a machine/);
      await expectAllWell();
    });

    test("a container of another pod", async () => {
      const other = await at.machine("other");
      const address = join(await at.podDir(other), "shim.sock");
      const metadata = meta({ "trine-sandbox": other.podSandboxId, "trine-address": address });
      await expect(call(metadata, 9)).rejects.toThrow(/no machine/);
      await expectAllWell();
      await at.node.remove(other);
    });
  });
});

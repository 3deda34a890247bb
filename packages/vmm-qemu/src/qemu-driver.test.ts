import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JsonLines } from "@trine/base";
import { TPM_KEY, VMM_KEY } from "@trine/vmm";
import type { HardwareSpec, MachineSpec, PinnedThread, ProcessHost } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { QMP_SOCKET } from "./plan-machine.ts";
import { QemuDriver } from "./qemu-driver.ts";

const GREETING =
  '{"QMP":{"version":{"qemu":{"micro":0,"minor":2,"major":7},"package":""},"capabilities":[]}}\n';
const HARDWARE: HardwareSpec = {
  pinning: { cpus: [2], others: [3] },
  cpuFeatures: { aes: "require", svm: "forbid" },
  tpm: { statePath: "/tpm" },
};

let dir: string;
let server: Server;
/** What the QEMU that is found says of itself. */
let status: string;
let hasAes: boolean;
/** What is done to it, in order. */
let done: unknown[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-driver-"));
  [status, hasAes, done] = ["prelaunch", true, []];
  server = createServer(serve);
  server.listen(join(dir, QMP_SOCKET));
  await once(server, "listening");
});

afterEach(async () => {
  server.close();
  await rm(dir, { recursive: true });
});

function serve(socket: Socket): void {
  const lines = new JsonLines({ maxLineBytes: 1 << 16, maxDepth: 20 });
  socket.on("error", () => undefined); // the driver lets go of it
  socket.write(GREETING);
  socket.on("data", (bytes: Buffer) => {
    for (const line of lines.push(bytes)) {
      if ("error" in line) throw line.error;
      const { execute, id, arguments: said } = line.value as Command;
      socket.write(`${JSON.stringify({ return: answer(execute, said), id })}\n`);
    }
  });
}

interface Command {
  readonly execute: string;
  readonly id: number;
  readonly arguments?: unknown;
}

function answer(command: string, said: unknown): unknown {
  if (command === "set_link") done.push(said);
  if (command === "cont") {
    done.push("cont");
    status = "running";
  }
  if (command === "query-status") return { status, running: status === "running" };
  if (command === "query-cpus-fast") return [{ "cpu-index": 0, "qom-path": "/c", "thread-id": 7 }];
  if (command === "query-cpu-model-expansion") return { model: { name: "max", props: {} } };
  return command === "qom-get" ? hasAes : {};
}

function host(): ProcessHost {
  return {
    machineDir: dir,
    signal: (key: string, signal: number) => {
      done.push([key, signal]);
      return Promise.resolve();
    },
    pinThreads: (key: string, threads: readonly PinnedThread[]) => {
      done.push([key, ...threads]);
      return Promise.resolve();
    },
  } as unknown as ProcessHost;
}

async function recover(hardware: HardwareSpec, more: Partial<MachineSpec> = {}): Promise<void> {
  const driver = new QemuDriver({ qemuPath: "/none" });
  const machine = await driver.recover(
    machineSpec({ hardware, ...more }),
    host(),
    AbortSignal.timeout(10_000),
  );
  machine.detach();
}

test("a machine whose start was cut off before its guest ran is looked at, pinned and set going", async () => {
  await recover(HARDWARE);
  const pins = [
    { id: 0, cpus: [3] },
    { id: 7, cpus: [2] },
  ];
  expect(done).toEqual([[VMM_KEY, ...pins], "cont"]);
});

test("a cable that is to be out is out before the guest runs", async () => {
  const card = { tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500 };
  const nics = [
    { name: "eth0", ...card },
    { name: "eth1", ...card, isUnplugged: true as const },
  ];
  await recover({}, { nics });
  expect(done).toEqual([{ name: "nic-eth1", up: false }, "cont"]);
});

test("one that may not run is ended instead, with its helper", async () => {
  hasAes = false;
  await expect(recover(HARDWARE)).rejects.toMatchObject({ kind: "wrongState" });
  expect(done).toEqual([
    [VMM_KEY, 9],
    [TPM_KEY, 9],
  ]);
});

test.each(["running", "paused", "shutdown"])("one that is %s stays so", async (found) => {
  status = found;
  await recover(HARDWARE);
  expect(done).toEqual([]);
});

test("one that waits for no word is given none", async () => {
  await recover({});
  expect(done).toEqual([]);
});

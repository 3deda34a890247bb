// A monitor that is no QEMU, or one whose words make no sense: the driver says so and goes on.
import { mkdtemp, rm } from "node:fs/promises";
import { type Server, type Socket, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError, withDeadline } from "@trine/base";
import type { ByteChannel, ProcessHost } from "@trine/vmm";
import { machineSpec } from "@trine/vmm/testing";
import { QemuDriver } from "@trine/vmm-qemu";
import { afterEach, beforeEach, expect, test } from "vitest";

const GREETING =
  '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0},"package":""},"capabilities":[]}}';
const START_MS = 3_000;

/** What the server says: on connect, and to each command by its name. */
interface Script {
  readonly hello: string | Buffer;
  readonly answer?: (command: string, id: number, socket: Socket) => string | Buffer | undefined;
}

/** A process host whose QEMU is a script. */
class ScriptedHost implements ProcessHost {
  readonly machineDir: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  signals: number[] = [];

  constructor(machineDir: string, script: Script) {
    this.machineDir = machineDir;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined); // the driver may hang up at any moment
      socket.on("close", () => this.#sockets.delete(socket));
      socket.write(script.hello);
      let text = "";
      socket.on("data", (bytes: Buffer) => {
        const lines = (text + bytes.toString()).split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) {
          const { execute, id } = JSON.parse(line) as { execute: string; id: number };
          const said = (script.answer ?? good)(execute, id, socket);
          if (said !== undefined && !socket.destroyed) socket.write(said);
        }
      });
    });
  }

  async spawn(): Promise<{ pid: number; already: boolean }> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#server.listen(join(this.machineDir, "qmp.sock"), () => {
      resolve(undefined);
    });
    await promise;
    return { pid: 1, already: false };
  }

  pinThreads(): Promise<never> {
    return Promise.reject(new TrineError("notFound", "a script has no threads"));
  }

  sealMemory(): Promise<never> {
    return Promise.reject(new TrineError("notFound", "a script has no memory"));
  }

  signal(_key: string, signal: number): Promise<void> {
    this.signals.push(signal);
    this.close();
    return Promise.resolve();
  }

  channel(): ByteChannel {
    throw new TrineError("notFound", "a script has no channels");
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function good(_command: string, id: number): string {
  return `${JSON.stringify({ return: {}, id })}\n`;
}

const ok = (id: number, value: unknown): string => `${JSON.stringify({ return: value, id })}\n`;

/** Answers as QEMU does up to one command, then `odd`. */
function oddAt(
  name: string,
  odd: (id: number, socket: Socket) => string | Buffer | undefined,
): Script {
  return {
    hello: `${GREETING}\n`,
    answer: (command, id, socket) => (command === name ? odd(id, socket) : good(command, id)),
  };
}

let dir: string;
let host: ScriptedHost | undefined;
const strays: unknown[] = [];
const onStray = (cause: unknown): void => {
  strays.push(cause);
};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-test-qmp-"));
  strays.length = 0;
  process.on("unhandledRejection", onStray);
});

afterEach(async () => {
  host?.close();
  process.off("unhandledRejection", onStray);
  await rm(dir, { recursive: true });
  expect(strays).toEqual([]);
});

function startOn(script: Script): ReturnType<QemuDriver["start"]> {
  host = new ScriptedHost(dir, script);
  const driver = new QemuDriver({ qemuPath: "/usr/bin/qemu-system-x86_64" });
  return withDeadline(
    "the driver's verdict",
    START_MS + 10_000,
    driver.start(machineSpec(), host, AbortSignal.timeout(START_MS)),
  );
}

const bigLine = Buffer.alloc((1 << 20) + 10, 0x61);

test.each<[string, Script, RegExp]>([
  ["no JSON at all", { hello: "SSH-2.0-OpenSSH_9.2\r\n" }, /not JSON/],
  ["another greeting", { hello: '{"hello":"there"}\n' }, /greeting/],
  ["a greeting of wrong types", { hello: '{"QMP":{"version":7}}\n' }, /greeting/],
  ["no greeting", { hello: "" }, /greeting|abort|time/i],
  ["half a greeting", { hello: GREETING.slice(0, 40) }, /greeting|abort|time/i],
  ["an endless line", { hello: bigLine }, /longer than/],
  ["an endless nesting", { hello: "[".repeat(500_000) }, /nested deeper/],
  ["bytes that are no text", { hello: Buffer.from([0xff, 0xfe, 0, 1, 0x0a]) }, /not JSON/],
  [
    "an error of no known class",
    oddAt("qom-set", (id) => `{"id":${id},"error":{"class":"Chaos","desc":"no"}}\n`),
    /no \(Chaos\)/,
  ],
  ["an answer of another type", oddAt("qom-set", (id) => ok(id, "fine")), /qom-set/],
  ["answers to nobody", oddAt("qom-set", () => ok(99_999, {})), /abort|time/i],
  ["an answer whose id is text", oddAt("qom-set", () => '{"return":{},"id":"2"}\n'), /abort|time/i],
  [
    "garbage in the middle",
    oddAt("qom-set", (id) => `{"return":{},"id"\n${ok(id, {})}`),
    /not JSON/,
  ],
  ["an endless line in the middle", oddAt("qom-set", () => bigLine), /longer than/],
])("a monitor that says %s fails the start and is killed", async (_, script, says) => {
  const failed = startOn(script);
  await expect(failed).rejects.toThrow(says);
  await expect(failed).rejects.toBeInstanceOf(TrineError);
  expect(host?.signals).toEqual([9]);
});

test("a flood of events before an answer is no harm", async () => {
  const event =
    '{"event":"RTC_CHANGE","data":{"offset":1},"timestamp":{"seconds":1,"microseconds":2}}\n';
  const machine = await startOn(oddAt("qom-set", (id) => event.repeat(20_000) + ok(id, {})));
  expect(machine).toBeDefined();
  machine.detach();
});

test("statistics that cannot be are refused or left out, and the machine goes on", async () => {
  const lies: Record<string, unknown> = {
    "query-cpus-fast": [{ "cpu-index": 0, "qom-path": "/x", "thread-id": 2 ** 40 }],
    "query-blockstats": [],
    "qom-get": {
      "last-update": 1,
      stats: { "stat-free-memory": 2 ** 60, "stat-available-memory": -5 },
    },
  };
  const machine = await startOn({
    hello: `${GREETING}\n`,
    answer: (command, id) => ok(id, lies[command] ?? {}),
  });
  const stats = await machine.stats(AbortSignal.timeout(START_MS));
  expect(stats.memory).toEqual({ totalBytes: stats.memory.totalBytes });
  expect(stats.cpuNs).toBe(0n);
  machine.detach();
});

test.each<[string, unknown]>([
  ["text", "running"],
  ["a list", []],
  ["null", null],
  ["a status of another type", { status: 7, running: "yes" }],
])("a status that is %s is refused", async (_, value) => {
  const machine = await startOn(oddAt("query-status", (id) => ok(id, value)));
  await expect(machine.status(AbortSignal.timeout(START_MS))).rejects.toThrow(/query-status/);
  machine.detach();
});

test("a monitor that hangs up on every question ends in an error, not in a loop", async () => {
  const machine = await startOn(
    oddAt("query-status", (_id, socket) => {
      socket.destroy();
      return undefined;
    }),
  );
  await expect(
    withDeadline("the status", 10_000, machine.status(AbortSignal.timeout(START_MS))),
  ).rejects.toThrow(/ended/);
  machine.detach();
});

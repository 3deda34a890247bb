import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JsonLines } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { QmpClient } from "./index.ts";
import type { QmpEvent } from "./index.ts";

interface Command {
  readonly execute: string;
  readonly id: number;
  readonly arguments: unknown;
}

/** A QEMU that greets, negotiates, and leaves every other command to the test. */
class ScriptedQemu {
  readonly path: string;
  #socket: Socket | undefined;
  readonly #server = createServer((socket) => {
    this.#socket = socket;
    this.#serve(socket);
  });
  readonly #greeting: string;
  readonly #onCommand: (command: Command) => void;

  constructor(path: string, onCommand: (command: Command) => void, greeting = GREETING) {
    this.path = path;
    this.#onCommand = onCommand;
    this.#greeting = greeting;
  }

  async listen(): Promise<void> {
    this.#server.listen(this.path);
    await once(this.#server, "listening");
  }

  send(text: string): void {
    this.#socket?.write(text);
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    const lines = new JsonLines({ maxLineBytes: 1 << 16, maxDepth: 20 });
    socket.write(this.#greeting);
    socket.on("data", (bytes: Buffer) => {
      for (const line of lines.push(bytes)) {
        if ("error" in line) throw line.error;
        const command = line.value as Command;
        if (command.execute === "qmp_capabilities") this.send(`{"return":{},"id":${command.id}}\n`);
        else this.#onCommand(command);
      }
    });
  }
}

const GREETING =
  '{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":""},"capabilities":["oob"]}}\r\n';
const EVENT = '{"timestamp":{"seconds":5,"microseconds":250000},"event":"STOP"}\r\n';

const never = new AbortController().signal;
let dir: string;
let closers: (() => void)[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-qmp-"));
  closers = [];
});
afterEach(async () => {
  for (const close of closers) close();
  await rm(dir, { recursive: true });
});

async function qemu(
  onCommand: (command: Command, qemu: ScriptedQemu) => void = () => undefined,
  greeting?: string,
): Promise<ScriptedQemu> {
  const made: ScriptedQemu = new ScriptedQemu(
    join(dir, "qmp.sock"),
    (command) => {
      onCommand(command, made);
    },
    greeting,
  );
  await made.listen();
  closers.push(() => {
    made.close();
  });
  return made;
}

async function connect(to: ScriptedQemu): Promise<QmpClient> {
  const client = await QmpClient.connect(to.path, never);
  closers.push(() => {
    client.close();
  });
  return client;
}

test("sends arguments and gives the typed answer", async () => {
  const server = await qemu(({ id, execute, arguments: args }, made) => {
    expect([execute, args]).toEqual(["qom-get", { path: "/machine", property: "type" }]);
    made.send(`{"return":"none-machine","id":${id}}\r\n`);
  });
  const client = await connect(server);
  const value = await client.execute(
    "qom-get",
    { path: "/machine", property: "type" },
    { signal: never },
  );
  expect(value).toBe("none-machine");
});

test("matches answers by id, in any order, and ignores ids that are not its own", async () => {
  const ids: number[] = [];
  const server = await qemu(({ id }, made) => {
    ids.push(id);
    if (ids.length < 2) return;
    made.send('{"return":{},"id":999}\n{"return":{},"id":"x"}\n{"return":{}}\n');
    made.send(`{"return":{"status":"paused","running":false},"id":${ids[1] ?? 0}}\n`);
    made.send(`{"return":{"status":"running","running":true},"id":${ids[0] ?? 0}}\n`);
  });
  const client = await connect(server);
  const both = await Promise.all([
    client.execute("query-status", {}, { signal: never }),
    client.execute("query-status", {}, { signal: never }),
  ]);
  expect(both.map(({ status }) => status)).toEqual(["running", "paused"]);
});

test("gives QEMU's refusals by class", async () => {
  const server = await qemu(({ id }, made) => {
    made.send(`{"id":${id},"error":{"class":"DeviceNotActive","desc":"No balloon device"}}\n`);
  });
  const client = await connect(server);
  await expect(client.execute("query-balloon", {}, { signal: never })).rejects.toMatchObject({
    kind: "wrongState",
    message: "QMP query-balloon: No balloon device (DeviceNotActive)",
  });
});

test("an answer of another shape is malformed and the connection lives", async () => {
  const server = await qemu(({ id, execute }, made) => {
    made.send(`{"id":${id},"return":${execute === "stop" ? "{}" : '{"status":7}'}}\n`);
  });
  const client = await connect(server);
  await expect(client.execute("query-status", {}, { signal: never })).rejects.toMatchObject({
    kind: "malformed",
  });
  await client.execute("stop", {}, { signal: never });
});

test("a signal ends the wait; the late answer is ignored", async () => {
  const late: number[] = [];
  const server = await qemu(({ id, execute }, made) => {
    if (execute === "stop") late.push(id);
    else for (const known of [...late, id]) made.send(`{"return":{},"id":${known}}\n`);
  });
  const client = await connect(server);
  await expect(
    client.execute("stop", {}, { signal: AbortSignal.timeout(5) }),
  ).rejects.toMatchObject({ kind: "timeout" });
  await client.execute("cont", {}, { signal: never });
});

test("events reach listeners and iterators until the connection ends", async () => {
  const server = await qemu();
  const client = await connect(server);
  const heard: QmpEvent[] = [];
  const { promise: second, resolve } = Promise.withResolvers<undefined>();
  const stop = client.onEvent((event) => {
    heard.push(event);
    if (heard.length === 2) resolve(undefined);
  });
  const events = client.events(never);
  server.send(EVENT.repeat(2));
  await second;
  stop();
  server.send(EVENT);
  const seen: QmpEvent[] = [];
  for await (const event of events) {
    seen.push(event);
    if (seen.length === 3) server.close();
  }
  expect(heard).toHaveLength(2);
  expect(seen).toHaveLength(3);
  expect(seen[0]).toEqual({ name: "STOP", data: {}, at: new Date(5250) });
  await client.closed;
});

test("an iterator ends with its signal, and in an error when it falls behind", async () => {
  const server = await qemu(({ id }, made) => {
    made.send(`${EVENT.repeat(1100)}{"return":{},"id":${id}}\n`);
  });
  const client = await connect(server);
  const abort = new AbortController();
  const ended = client.events(abort.signal)[Symbol.asyncIterator]().next();
  abort.abort();
  expect((await ended).done).toBe(true);

  const behind = client.events(never)[Symbol.asyncIterator]();
  await client.execute("stop", {}, { signal: never });
  await expect(behind.next()).rejects.toMatchObject({ kind: "exhausted" });
});

test("a malformed line ends the connection with its reason", async () => {
  const server = await qemu((_command, made) => {
    made.send("{oops\n");
  });
  const client = await connect(server);
  await expect(client.execute("stop", {}, { signal: never })).rejects.toMatchObject({
    kind: "malformed",
    message: expect.stringContaining("line is not JSON") as string,
  });
  await client.closed;
});

test("a line without end closes the connection at the limit", async () => {
  const server = await qemu((_command, made) => {
    made.send(`"${"x".repeat(2 << 20)}`);
  });
  const client = await connect(server);
  await expect(client.execute("stop", {}, { signal: never })).rejects.toMatchObject({
    kind: "malformed",
  });
});

test("a lost connection fails what waits and what comes after", async () => {
  const server = await qemu((_command, made) => {
    made.close();
  });
  const client = await connect(server);
  const lost = { kind: "unavailable" };
  await expect(client.execute("stop", {}, { signal: never })).rejects.toMatchObject(lost);
  await client.closed;
  await expect(client.execute("stop", {}, { signal: never })).rejects.toMatchObject(lost);
});

test("what is not QEMU, says nothing, or is not there is refused", async () => {
  const stranger = await qemu(undefined, '{"hello":1}\n');
  await expect(connect(stranger)).rejects.toMatchObject({ kind: "malformed" });
  stranger.close();

  const silent = await qemu(undefined, "");
  await expect(QmpClient.connect(silent.path, AbortSignal.timeout(5))).rejects.toMatchObject({
    kind: "timeout",
  });
  await expect(QmpClient.connect(join(dir, "none"), never)).rejects.toMatchObject({
    kind: "unavailable",
  });
});

import { expect, test } from "vitest";
import { GuestAgent } from "./index.ts";
import { AgentRefusal, FakeGuestAgent } from "./testing.ts";

const life = new AbortController().signal;
const COMMAND = { path: "/bin/true", args: ["-x"], env: ["A=b"], captureOutput: true };

function agentOn(fake: FakeGuestAgent): GuestAgent {
  return new GuestAgent(fake, { signal: life });
}

/** A guest that runs programs: pids count up from 100, each ends with its number modulo 100. */
function runningGuest(): FakeGuestAgent {
  let pid = 99;
  return new FakeGuestAgent({
    "guest-exec": () => ({ pid: (pid += 1) }),
    "guest-exec-status": (args) => ({
      exited: true,
      exitcode: Number(args["pid"]) % 100,
      "out-data": Buffer.from("out").toString("base64"),
    }),
  });
}

/** Lets what the channel holds be read. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test("starts a program and reads its result", async () => {
  const fake = runningGuest();
  const agent = agentOn(fake);
  const { pid } = await agent.exec({ ...COMMAND, input: Buffer.from("in") });
  const status = await agent.execStatus(pid);
  expect(fake.requests[0]?.arguments).toEqual({
    path: "/bin/true",
    arg: ["-x"],
    env: ["A=b"],
    "capture-output": true,
    "input-data": "aW4=",
  });
  expect(status).toEqual({
    exited: true,
    exitCode: 0,
    signal: undefined,
    stdout: Buffer.from("out"),
    stderr: Buffer.alloc(0),
    truncated: false,
  });
});

test("refuses more input than the agent takes, before asking it", () => {
  const fake = runningGuest();
  const input = new Uint8Array((1 << 20) + 1);
  return expect(agentOn(fake).exec({ ...COMMAND, input })).rejects.toMatchObject({
    kind: "invalid",
  });
});

test("reads about agent, system and addresses, and sets the clock", async () => {
  const fake = new FakeGuestAgent({
    "guest-info": () => ({
      version: "7.2",
      supported_commands: [
        { name: "guest-ping", enabled: true },
        { name: "guest-exec", enabled: false },
      ],
    }),
    "guest-get-osinfo": () => ({ id: "debian", "pretty-name": "Debian 12" }),
    "guest-network-get-interfaces": () => [
      { name: "lo" },
      {
        name: "eth0",
        "hardware-address": "52:54:00:00:00:01",
        "ip-addresses": [
          { "ip-address": "10.0.0.5", "ip-address-type": "ipv4", prefix: 24 },
          { "ip-address": "fd00::5", "ip-address-type": "ipv6", prefix: 64 },
        ],
      },
    ],
    "guest-set-time": () => ({}),
  });
  const agent = agentOn(fake);
  expect(await agent.info()).toEqual({ version: "7.2", enabledCommands: new Set(["guest-ping"]) });
  expect(await agent.osInfo()).toMatchObject({ id: "debian", prettyName: "Debian 12" });
  expect(await agent.networkInterfaces()).toEqual([
    { name: "lo", mac: undefined, addresses: [] },
    {
      name: "eth0",
      mac: "52:54:00:00:00:01",
      addresses: [
        { family: "ipv4", address: "10.0.0.5", prefix: 24 },
        { family: "ipv6", address: "fd00::5", prefix: 64 },
      ],
    },
  ]);
  await agent.setTime(new Date(1000));
  expect(fake.requests.at(-1)?.arguments).toEqual({ time: 1e9 });
});

test("puts into use what was plugged in, no more processors than wanted, and nothing where all is in use", async () => {
  const cpus = [true, false].map((online, id) => ({
    ...{ "logical-id": id, online },
    "can-offline": id > 0,
  }));
  const blocks = [false, true].map((online, id) => ({ "phys-index": id, online }));
  const fake = new FakeGuestAgent({
    "guest-get-vcpus": () => cpus,
    "guest-get-memory-blocks": () => blocks,
    "guest-set-vcpus": ({ vcpus }) => {
      for (const wanted of vcpus as typeof cpus) {
        for (const cpu of cpus) {
          if (cpu["logical-id"] === wanted["logical-id"]) cpu.online = wanted.online;
        }
      }
      return 1;
    },
    "guest-set-memory-blocks": () => {
      for (const each of blocks) each.online = true;
      return [];
    },
  });
  const agent = agentOn(fake);
  expect(await agent.onlineResources(2)).toBe(2);
  const told = fake.requests.filter(({ execute }) => execute.startsWith("guest-set"));
  expect(told.map((each) => each.arguments)).toEqual([
    { "mem-blks": [{ "phys-index": 0, online: true }] },
    { vcpus: [{ "logical-id": 1, online: true }] },
  ]);
  expect(await agent.onlineResources(2)).toBe(2);
  expect(fake.requests.filter(({ execute }) => execute.startsWith("guest-set"))).toHaveLength(2);
  expect(await agent.onlineResources(1)).toBe(1);
  expect(fake.requests.filter(({ execute }) => execute === "guest-set-vcpus").at(-1)).toMatchObject(
    { arguments: { vcpus: [{ "logical-id": 1, online: false }] } },
  );
  expect(await agent.onlineResources(1)).toBe(1);
});

test("gives the agent's refusals", async () => {
  const fake = new FakeGuestAgent({
    "guest-exec": () => {
      throw new AgentRefusal("no such file");
    },
  });
  const agent = agentOn(fake);
  await expect(agent.exec(COMMAND)).rejects.toMatchObject({
    kind: "wrongState",
    message: "guest agent: guest-exec: no such file (GenericError)",
  });
  await expect(agent.osInfo()).rejects.toMatchObject({ kind: "unimplemented" });
});

test("answers of another shape are malformed", async () => {
  const fake = new FakeGuestAgent({
    "guest-exec": () => ({ pid: "7" }),
    "guest-get-osinfo": () => ({ id: 5 }),
    "guest-network-get-interfaces": () => [{ name: 1 }],
  });
  const agent = agentOn(fake);
  const malformed = { kind: "malformed" };
  await expect(agent.exec(COMMAND)).rejects.toMatchObject(malformed);
  await expect(agent.osInfo()).rejects.toMatchObject(malformed);
  await expect(agent.networkInterfaces()).rejects.toMatchObject(malformed);
});

test("an absent agent is unavailable, and gets nothing it could carry out later", async () => {
  const fake = runningGuest();
  fake.isReading = false;
  const agent = agentOn(fake);
  await expect(agent.exec(COMMAND, { timeoutMs: 5 })).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining("installed and running") as string,
  });
  fake.resume();
  await agent.ping();
  expect(fake.requests.map(({ execute }) => execute)).toEqual(["guest-ping"]);
});

test("an agent that falls silent is unavailable; its late answer can still be had by id", async () => {
  const fake = runningGuest();
  const agent = agentOn(fake);
  await agent.ping();
  fake.isReading = false;
  const id = "exec-1";
  await expect(agent.exec(COMMAND, { id, timeoutMs: 5 })).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining("may still be carried out") as string,
  });
  fake.resume();
  expect(await agent.pendingAnswer(id)).toEqual({ pid: 100 });
  expect(await agent.pendingAnswer(id)).toBeUndefined();
});

test("a caller's signal ends the wait", async () => {
  const fake = runningGuest();
  fake.isReading = false;
  const abort = new AbortController();
  const ping = agentOn(fake).ping({ signal: abort.signal });
  abort.abort(new Error("left"));
  await expect(ping).rejects.toMatchObject({ kind: "canceled" });
});

test("a later daemon finds the answers an earlier one did not read", async () => {
  const fake = runningGuest();
  const earlier = new AbortController();
  const first = new GuestAgent(fake, { signal: earlier.signal });
  await first.ping();
  fake.isReading = false;
  const exec = first.exec(COMMAND, { id: "exec-1" });
  const status = first.execStatus(7);
  await settle();
  earlier.abort();
  await expect(exec).rejects.toMatchObject({ kind: "unavailable" });
  await expect(status).rejects.toMatchObject({ kind: "unavailable" });
  fake.resume();

  const second = agentOn(fake);
  expect(await second.pendingAnswer("exec-1")).toEqual({ pid: 100 });
  expect(await second.pendingAnswer("exec-2")).toBeUndefined();
  expect((await second.execStatus(7)).exitCode).toBe(7);
  expect(fake.requests.map(({ execute }) => execute)).toEqual([
    "guest-ping",
    "guest-exec",
    "guest-exec-status",
  ]);
});

test("a repeated exec with the same id starts nothing twice", async () => {
  const fake = runningGuest();
  fake.send('{"return": {"pid": 55}, "id": "exec-1"}\n');
  const agent = agentOn(fake);
  expect(await agent.exec(COMMAND, { id: "exec-1" })).toEqual({ pid: 55 });
  expect(fake.requests).toEqual([]);
});

test("a new process with an old number does not get the old one's status", async () => {
  const fake = runningGuest();
  fake.send('{"return": {"exited": true, "exitcode": 9}, "id": "exec-status-100"}\n');
  const agent = agentOn(fake);
  const { pid } = await agent.exec(COMMAND);
  expect((await agent.execStatus(pid)).exitCode).toBe(0);
});

test("an earlier request is in doubt when part of the answers is lost", async () => {
  const fake = runningGuest();
  fake.send('d": 55}, "id": "exec-1"}\n');
  const agent = agentOn(fake);
  await expect(agent.pendingAnswer("exec-1")).rejects.toMatchObject({ kind: "unavailable" });
  await agent.ping();
});

test("a failed request of an earlier daemon is told as such", async () => {
  const fake = runningGuest();
  fake.send('{"id":"exec-1","error":{"class":"GenericError","desc":"no such file"}}\n');
  await expect(agentOn(fake).pendingAnswer("exec-1")).rejects.toMatchObject({
    kind: "wrongState",
  });
});

test("noise from the guest is ignored", async () => {
  const fake = runningGuest();
  const agent = agentOn(fake);
  fake.send('garbage\n{"id": "nobody", "return": 1}\n{"return": 1}\n[]\n7\n{"id": 5}\n');
  fake.send(`${"[".repeat(100_000)}\n`);
  fake.send(Uint8Array.of(0xff, 0xfe, 0x0a));
  await agent.ping();
});

test("floods of answers nobody asked for are not hoarded", async () => {
  const fake = runningGuest();
  const agent = agentOn(fake);
  await agent.ping();
  for (let i = 0; i < 1000; i += 1) fake.send(`{"id":"s${i}","return":{"pid":${i}}}\n`);
  expect(await agent.pendingAnswer("s0")).toBeUndefined();
  expect(await agent.pendingAnswer("s999")).toEqual({ pid: 999 });
});

test("an agent that gives no ids back is refused as too old", async () => {
  const fake: FakeGuestAgent = new FakeGuestAgent();
  const written = fake.write.bind(fake);
  fake.write = (bytes) => {
    const text = Buffer.from(bytes).toString("latin1").replace("\xff", "");
    const request = JSON.parse(text) as { arguments: { id: number } };
    fake.send(`{"return": ${request.arguments.id}}\n`);
    return Promise.resolve();
  };
  const agent = agentOn(fake);
  await expect(agent.ping()).rejects.toMatchObject({ kind: "unimplemented" });
  fake.write = written;
  await agent.ping();
});

test("requests end with the channel and fail at once afterwards", async () => {
  const fake = runningGuest();
  fake.isReading = false;
  const agent = agentOn(fake);
  const ping = agent.ping();
  fake.end();
  await expect(ping).rejects.toMatchObject({ kind: "unavailable" });
  await expect(agent.ping()).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringContaining("channel has ended") as string,
  });
});

test("two requests with one id are a conflict", async () => {
  const fake = new FakeGuestAgent({ "guest-exec": () => undefined });
  const agent = agentOn(fake);
  const first = agent.exec(COMMAND, { id: "x", timeoutMs: 50 });
  await expect(agent.exec(COMMAND, { id: "x" })).rejects.toMatchObject({ kind: "conflict" });
  await expect(first).rejects.toMatchObject({ kind: "unavailable" });
});

test("shutdown resolves when the agent took it or the guest is gone, and gives a refusal", async () => {
  const taken = new FakeGuestAgent({ "guest-shutdown": () => undefined });
  await agentOn(taken).shutdown("powerdown");
  expect(taken.requests[0]?.arguments).toEqual({ mode: "powerdown" });

  const gone: FakeGuestAgent = new FakeGuestAgent({
    "guest-shutdown": () => {
      gone.end();
    },
  });
  await agentOn(gone).shutdown("reboot");

  const refusing = new FakeGuestAgent({
    "guest-shutdown": () => {
      throw new AgentRefusal("not allowed");
    },
  });
  await expect(agentOn(refusing).shutdown("halt")).rejects.toMatchObject({ kind: "wrongState" });
});

import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError, printable } from "@trine/base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AgentClient } from "./index.ts";
import { FakeAgent } from "./fake-agent.ts";

let dir: string;
let agent: FakeAgent;
let client: AgentClient;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tac-"));
  agent = new FakeAgent(join(dir, "guest.sock"));
  client = new AgentClient(agent.path);
});

afterEach(async () => {
  client.close();
  await agent.die();
  await rm(dir, { recursive: true, force: true });
});

const pod = { pod: "k8s.io/p1", hostname: "p1" };
const soon = (): AbortSignal => AbortSignal.timeout(10_000);

describe("an agent that answers", () => {
  beforeEach(() => agent.listen());

  test("makes, starts, signals and removes a container", async () => {
    expect((await client.untilAnswers(soon())).revived).toBe(false);
    await client.revive(pod);
    await client.createContainer({ container: "c1" });
    expect(await client.startProcess({ container: "c1", exec: "" })).toBe(10);
    await client.signal({ container: "c1", exec: "" }, 15, false);
    await client.removeContainer("c1");
    await client.removeContainer("c1");
    expect(await client.describe()).toMatchObject({ revived: true, containers: [] });
  });

  test("is called again on a new connection when the link was reset", async () => {
    await client.revive(pod);
    agent.reset();
    expect((await client.describe()).pod).toBe("k8s.io/p1");
    agent.failOnce("stats");
    const { container } = await client.stats("c1", soon());
    expect(container?.pids?.current).toBe(3n);
  });

  test("keeps its refusals apart from a lost connection, and their text harmless", async () => {
    const words = `no\n\u001b[2J${"x".repeat(2000)}`;
    agent.failOnce("revive", new TrineError("invalid", words));
    const refusal = await client.revive(pod).catch((cause: unknown) => cause as TrineError);
    expect(refusal).toMatchObject({ kind: "invalid" });
    const message = (refusal as TrineError).message;
    expect(message).toMatch(/Revive: no \[2Jxx/);
    expect(message.length).toBeLessThan(600);
    expect(agent.calls).toEqual(["revive"]);
  });

  test("of another protocol is refused at once", async () => {
    agent.protocol = 9;
    await expect(client.untilAnswers(soon())).rejects.toMatchObject({ kind: "unimplemented" });
  });

  test("says nothing to a closed client", async () => {
    client.close();
    await expect(client.describe()).rejects.toMatchObject({ kind: "canceled" });
  });
});

describe("an agent that does not answer", () => {
  test("is waited for until it does", async () => {
    const answer = client.untilAnswers(soon());
    await agent.listen();
    expect((await answer).version).toBe("fake");
  });

  test("is given up at the deadline, with the last failure", async () => {
    await expect(client.untilAnswers(AbortSignal.timeout(100))).rejects.toMatchObject({
      kind: "timeout",
      message: expect.stringMatching(/does not answer \(nobody answers on/) as string,
    });
  });

  test.each([
    ["garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["a frame over the limit", Buffer.from("7fffffff000000010200", "hex")],
    ["an answer to no call", Buffer.from("00000001000000630200ff", "hex")],
    ["an answer that is no message", Buffer.from("00000001000000010200ff", "hex")],
  ])("but sends %s is given up at the deadline", async (_, bytes) => {
    const server = await sendingServer(agent.path, bytes);
    const given = AbortSignal.timeout(200);
    await expect(client.untilAnswers(given)).rejects.toMatchObject({ kind: "timeout" });
    server.close();
  });
});

test("cuts and cleans the text of a guest", () => {
  expect(printable("a\u0000\r\nb\u009b1mc\u202e", 10)).toBe("a b 1mc ");
  expect(printable("x".repeat(11), 10)).toBe(`${"x".repeat(10)}…`);
});

async function sendingServer(path: string, bytes: Buffer): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write(bytes));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

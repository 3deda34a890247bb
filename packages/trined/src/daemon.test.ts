import { access, mkdir, mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pollUntil } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultConfig } from "./config.ts";
import type { Config } from "./config.ts";
import { runDaemon } from "./daemon.ts";

const WAIT_MS = 60_000;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-dm-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

function configOf(stateDir: string): Config {
  const config = defaultConfig();
  return {
    ...config,
    stateDir,
    rootDir: join(dir, "r"),
    log: { level: "error" },
    machines: { ...config.machines, accelerator: "tcg" },
  };
}

async function get(path: string): Promise<{ status: number; body: string }> {
  const sent = request({ socketPath: join(dir, "s/api.sock"), path });
  sent.end();
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, body: await text(answer) };
}

test("a daemon that cannot start leaves nothing that listens", async () => {
  const stateDir = join(dir, "s");
  await mkdir(join(stateDir, "trined.sock/in-the-way"), { recursive: true });
  const starting = runDaemon(configOf(stateDir));
  await expect(starting).rejects.toThrow(/trined\.sock/);
  await expect(access(join(stateDir, "api.sock"))).rejects.toThrow(/ENOENT/);
});

test("a gateway that cannot start is told by readyz and leaves the daemon to its pods", async () => {
  const config = configOf(join(dir, "s"));
  const socket = join(dir, "cri.sock");
  const backEnds = [{ name: "a", socket: join(dir, "a.sock") }];
  const before = process.listeners("SIGTERM");
  const running = runDaemon({
    ...config,
    gateway: { ...config.gateway, socket, backEnds, group: "no-such-group" },
  });
  const said = await pollUntil("readyz says why", { ms: WAIT_MS }, async () => {
    const answer = await get("/readyz").catch(() => undefined);
    return answer?.body.startsWith("the gateway") === true ? answer : undefined;
  });
  expect(said).toEqual({
    status: 503,
    body: 'the gateway cannot start: gateway.group: there is no group "no-such-group"\n',
  });
  expect(await get("/metrics")).toMatchObject({ status: 200 });
  await access(join(dir, "s/trined.sock"));
  // The daemon's own listener alone: the runner of this test has others.
  for (const listener of process.listeners("SIGTERM")) {
    if (!before.includes(listener)) listener("SIGTERM");
  }
  expect(await running).toBe(0);
});

import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { defaultConfig } from "./config.ts";
import { keepGateway } from "./gateway.ts";

const WAIT_MS = 20_000;
vi.setConfig({ testTimeout: 60_000 });

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-gw-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("what was in the gateway's way is gone: it serves, and metrics know its back ends from then on", async () => {
  const socket = join(dir, "cri.sock");
  await writeFile(socket, "no socket");
  const backEnds = [{ name: "a", socket: join(dir, "a.sock") }];
  let watched: () => readonly unknown[] = () => ["nothing is watched"];
  const gateway = await keepGateway({
    rootDir: dir,
    config: { ...defaultConfig().gateway, socket, backEnds },
    metrics: {
      watchGateway: (states) => {
        watched = states;
        return () => undefined;
      },
    },
    log: pino({ level: "silent" }),
    retryMs: 20,
  });
  expect(gateway?.notReady()).toMatch(
    /the gateway cannot start: .*cri\.sock is there and is not a/,
  );
  expect(watched()).toEqual([]);
  await rm(socket);
  await pollUntil("it serves", { ms: WAIT_MS }, () =>
    gateway?.notReady() === undefined ? true : undefined,
  );
  expect((await stat(socket)).isSocket()).toBe(true);
  expect(watched()).toMatchObject([{ name: "a" }]);
  await gateway?.stop();
});

test("a daemon that stops waits for no further attempt", async () => {
  const config = defaultConfig().gateway;
  const gateway = await keepGateway({
    rootDir: dir,
    config: {
      ...config,
      socket: join(dir, "none/cri.sock"),
      backEnds: [{ name: "a", socket: "/x" }],
    },
    metrics: { watchGateway: () => () => undefined },
    log: pino({ level: "silent" }),
    retryMs: 2 ** 30,
  });
  expect(gateway?.notReady()).toMatch(/none\/cri\.sock/);
  await gateway?.stop();
});

test("a node whose configuration names no back end has none", async () => {
  const metrics = { watchGateway: (): never => expect.fail("nothing is to be watched") };
  const { gateway } = defaultConfig();
  const log = pino({ level: "silent" });
  expect(await keepGateway({ config: gateway, metrics, log, rootDir: dir })).toBeUndefined();
});

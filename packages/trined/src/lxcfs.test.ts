import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeMetrics } from "@trine/node-api";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultConfig } from "./config.ts";
import { keepViews } from "./lxcfs.ts";

type Figures = Parameters<NodeMetrics["watchViews"]>[0];

let dir: string;
let watched: Figures | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-views-"));
  watched = undefined;
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

function keep(enabled: boolean): ReturnType<typeof keepViews> {
  const [pidFile, nri] = [join(dir, "pid"), join(dir, "nri.sock")];
  return keepViews({
    config: { ...defaultConfig().lxcfs, enabled, dir: join(dir, "fs"), pidFile, nri },
    metrics: {
      watchViews: (figures) => {
        watched = figures;
      },
    },
    log: pino({ level: "silent" }),
    engine: { has: () => false },
    stateDir: dir,
  });
}

test("views are off unless they are asked for", async () => {
  expect(defaultConfig().lxcfs.enabled).toBe(false);
  expect(await keep(false)).toBeUndefined();
  expect(watched).toBeUndefined();
});

test("where lxcfs and NRI are away the daemon runs, figures say so, and it stops at once", async () => {
  const views = await keep(true);
  expect(watched?.()).toMatchObject({ up: false, nri: false, containers: 0, missed: 0 });
  await views?.stop();
});

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { QmpClient } from "./index.ts";

let dir: string;
let child: ChildProcess | undefined;
let client: QmpClient | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-qmp-"));
});
afterEach(async () => {
  client?.close();
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await rm(dir, { recursive: true });
});

async function start(...args: string[]): Promise<QmpClient> {
  const path = join(dir, "qmp.sock");
  child = spawn(
    "qemu-system-x86_64",
    ["-nodefaults", "-display", "none", "-S", "-qmp", `unix:${path},server=on,wait=off`, ...args],
    { stdio: "inherit" },
  );
  client = await pollUntil("QEMU's monitor", { ms: 30_000 }, () =>
    QmpClient.connect(path, AbortSignal.timeout(10_000)).catch(() => undefined),
  );
  return client;
}

test("speaks to an empty machine and sees it quit", async () => {
  const qmp = await start("-machine", "none");
  const options = { signal: AbortSignal.timeout(30_000) };
  expect(await qmp.execute("query-status", {}, options)).toMatchObject({
    status: "prelaunch",
    running: false,
  });
  expect((await qmp.execute("query-version", {}, options)).qemu.major).toBeGreaterThanOrEqual(7);
  expect((await qmp.execute("query-kvm", {}, options)).enabled).toBe(false);
  await expect(qmp.execute("query-balloon", {}, options)).rejects.toMatchObject({
    kind: "wrongState",
  });
  const path = "/nowhere";
  await expect(qmp.execute("qom-get", { path, property: "x" }, options)).rejects.toMatchObject({
    kind: "notFound",
  });
  const events = qmp.events(options.signal);
  await qmp.execute("quit", {}, options);
  const names: [string, unknown][] = [];
  for await (const { name, data } of events) names.push([name, data["reason"]]);
  expect(names).toEqual([["SHUTDOWN", "host-qmp-quit"]]);
  await qmp.closed;
});

test("reads processors, disks and balloon of a machine, stops and continues it", async () => {
  const disk = "driver=null-co,node-name=n0";
  const qmp = await start(
    ...["-machine", "q35", "-accel", "tcg", "-m", "64", "-smp", "2"],
    ...["-blockdev", disk, "-device", "virtio-blk-pci,drive=n0,id=d0"],
    ...["-device", "virtio-balloon-pci,id=balloon0"],
  );
  const options = { signal: AbortSignal.timeout(60_000) };
  expect(await qmp.execute("query-cpus-fast", {}, options)).toHaveLength(2);
  const [block] = await qmp.execute("query-block", {}, options);
  expect(block).toMatchObject({ qdev: "/machine/peripheral/d0/virtio-backend" });
  const [stats] = await qmp.execute("query-blockstats", {}, options);
  expect(stats).toMatchObject({ "node-name": "n0", stats: { rd_bytes: 0, wr_operations: 0 } });
  expect((await qmp.execute("query-balloon", {}, options)).actual).toBe(64 << 20);

  const path = "/machine/peripheral/balloon0";
  const property = "guest-stats-polling-interval";
  await qmp.execute("qom-set", { path, property, value: 2 }, options);
  expect(await qmp.execute("qom-get", { path, property }, options)).toBe(2);
  const memory = await qmp.execute("qom-get", { path, property: "guest-stats" }, options);
  expect(memory).toHaveProperty("stats.stat-available-memory");

  const seen: string[] = [];
  qmp.onEvent((event) => seen.push(event.name));
  await qmp.execute("cont", {}, options);
  expect((await qmp.execute("query-status", {}, options)).running).toBe(true);
  await qmp.execute("stop", {}, options);
  expect((await qmp.execute("query-status", {}, options)).status).toBe("paused");
  await qmp.execute("system_powerdown", {}, options);
  await qmp.execute("system_reset", {}, options);
  expect(seen).toEqual(expect.arrayContaining(["RESUME", "STOP", "POWERDOWN"]));
});

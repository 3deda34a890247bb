import { access, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import type { Logger } from "pino";
import { Engine, UidPool } from "@trine/engine";
import { NodeMetrics, serveNodeApi } from "@trine/node-api";
import { Task } from "@trine/proto/task";
import { taskService } from "@trine/task-service";
import { TtrpcServer } from "@trine/ttrpc";
import { QemuDriver, probeAccelerator } from "@trine/vmm-qemu";
import type { Config } from "./config.ts";
import { VERSION } from "./version.ts";

/** Runs until SIGTERM or SIGINT; machines run on. Answers the exit code. */
export async function runDaemon(config: Config): Promise<number> {
  const log = pino({ level: config.log.level, base: { component: "trined" } });
  await mkdir(join(config.stateDir, "pods"), { recursive: true, mode: 0o700 });
  await mkdir(config.rootDir, { recursive: true, mode: 0o700 });

  const accelerator = await chooseAccelerator(config, log);
  const engine = new Engine({
    driver: new QemuDriver({ qemuPath: config.machines.qemu, uefi: config.machines.uefi }),
    log,
    uids: new UidPool({ base: config.machines.uidBase, count: config.machines.uidCount }),
    now: () => new Date(),
    onLaunched: (ms) => {
      metrics.observeLaunch(ms);
    },
    config: {
      stateDir: config.stateDir,
      rootDir: config.rootDir,
      accelerator,
      machines: { ...config.machines, uefi: await existing(config.machines.uefi) },
    },
  });
  const metrics = new NodeMetrics(engine);
  let adopting: string | undefined = "adopting the pods of an earlier daemon";
  const api = await serveNodeApi(
    { engine, metrics, version: VERSION, notReady: () => adopting },
    join(config.stateDir, "api.sock"),
  );

  const found = await engine.adoptAll();
  adopting = undefined;
  // Shims connect and resend what was left unanswered only once every pod is known.
  const tasks = new TtrpcServer({
    onError: (error, call) => {
      log.error({ err: error, ...call }, "task call failed unexpectedly");
    },
  });
  tasks.register(
    Task,
    taskService(engine, (method, outcome, seconds) => {
      metrics.observeTaskCall(method, outcome, seconds);
    }),
  );
  await tasks.listen(join(config.stateDir, "trined.sock"));
  log.info({ ...found, accelerator, version: VERSION, pid: process.pid }, "ready");

  await stopSignal();
  log.info("stopping; machines run on");
  await tasks.close();
  await engine.detach();
  api.close();
  return 0;
}

async function chooseAccelerator(config: Config, log: Logger): Promise<"kvm" | "tcg"> {
  const wanted = config.machines.accelerator;
  if (wanted !== "auto") return wanted;
  const probe = await probeAccelerator({
    qemuPath: config.machines.qemu,
    cacheFile: join(config.rootDir, "accelerator.json"),
    signal: AbortSignal.timeout(60_000),
  });
  if (probe.accelerator === "tcg") {
    log.warn({ reason: probe.reason }, "no usable KVM: machines run under software emulation");
  }
  return probe.accelerator;
}

async function existing<T extends { code: string; vars: string }>(uefi: T): Promise<T | undefined> {
  try {
    await Promise.all([access(uefi.code), access(uefi.vars)]);
    return uefi;
  } catch {
    return undefined; // machines that ask for UEFI are refused with the reason
  }
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) {
      process.once(name, () => {
        resolve();
      });
    }
  });
}

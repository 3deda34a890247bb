import { access, chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import type { Logger } from "pino";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { Engine, UidPool } from "@trine/engine";
import type { EngineConfig, GuestImage } from "@trine/engine";
import { readGuestImage } from "@trine/guest-image";
import { criContainerConfig } from "@trine/containerd-client";
import { GuestRoots } from "@trine/guest-roots";
import { NodeMetrics, serveNodeApi } from "@trine/node-api";
import { Task } from "@trine/proto/task";
import { taskService } from "@trine/task-service";
import { TtrpcServer } from "@trine/ttrpc";
import type { Accelerator } from "@trine/vmm";
import { QemuDriver, probeAccelerator } from "@trine/vmm-qemu";
import type { Config } from "./config.ts";
import { nodeNameOf } from "./door/door-config.ts";
import { keepDoor } from "./door/keep-door.ts";
import { keepGateway } from "./gateway.ts";
import type { KeptGateway } from "./gateway.ts";
import { keepPodEvents } from "./pod-events.ts";
import type { PodEvents } from "./pod-events.ts";
import { keepLogsSmall } from "./rotate-logs.ts";
import { keepViews } from "./lxcfs.ts";
import type { KeptViews } from "./lxcfs.ts";
import { lockState } from "./state-lock.ts";
import { VERSION } from "./version.ts";

/** Runs until SIGTERM or SIGINT; machines run on. Answers the exit code. */
export async function runDaemon(config: Config): Promise<number> {
  const log = pino({ level: config.log.level, base: { component: "trined" } });
  // From here on: one that comes while we start is obeyed when we have started.
  const stopped = stopSignal();
  for (const dir of [config.stateDir, join(config.stateDir, "pods"), config.rootDir]) {
    await makePrivateDir(dir);
  }
  const lock = await lockState(config.stateDir);
  try {
    const accelerator = await chooseAccelerator(config, log);
    const node = await startNode(config, accelerator, log);
    const over = new AbortController();
    const rotating = keepLogsSmall(config.logs, log, over.signal);
    await stopped;
    log.info("stopping; machines run on");
    over.abort();
    await rotating;
    await node.stop();
    return 0;
  } finally {
    await lock.close();
  }
}

/** Serves the node API at once and task calls as soon as the pods of an earlier daemon are adopted. */
async function startNode(
  config: Config,
  accelerator: Accelerator,
  log: Logger,
): Promise<{ stop: () => Promise<void> }> {
  const roots = await openRoots(config, log);
  const engine = new Engine({
    driver: new QemuDriver({
      qemuPath: config.machines.qemu,
      uefi: config.machines.uefi,
      swtpmPath: config.machines.swtpm,
    }),
    log,
    uids: new UidPool({ base: config.machines.uidBase, count: config.machines.uidCount }),
    now: () => new Date(),
    onLaunched: (ms) => {
      metrics.observeLaunch(ms);
    },
    onGuestUp: (start) => {
      metrics.countGuest(start);
    },
    config: {
      stateDir: config.stateDir,
      rootDir: config.rootDir,
      accelerator,
      machines: { ...config.machines, uefi: await existing(config.machines.uefi) },
      microvms: config.microvms,
    },
    criConfig: criContainerConfig,
    importer: { node: process.execPath, program: process.argv[1] ?? "" },
    guestImage: () => guestImage(config.microvms.guestDir),
    ...(roots === undefined ? {} : { roots }),
  });
  const metrics = new NodeMetrics(engine, nodeNameOf(config.nodeDoor));
  let adopting: string | undefined = "adopting the pods of an earlier daemon";
  let gateway: KeptGateway | undefined;
  let door: ReturnType<typeof keepDoor>;
  let views: KeptViews | undefined;
  let podEvents: PodEvents | undefined;
  const api = await serveNodeApi(
    {
      ...{ engine, metrics, version: VERSION },
      notReady: () => adopting ?? gateway?.notReady(),
      parts: () => ({
        gateway: gateway?.summary(),
        routes: gateway?.routes(),
        lxcfs: views?.figures(),
      }),
    },
    join(config.stateDir, "api.sock"),
  );
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
  const stop = async (): Promise<void> => {
    await door?.stop();
    await gateway?.stop();
    await views?.stop();
    await podEvents?.stop();
    await tasks.close();
    await engine.detach();
    await roots?.close();
    metrics.close();
    api.close();
    api.closeAllConnections();
  };
  let found;
  try {
    found = await engine.adoptAll();
    await tasks.listen(join(config.stateDir, "trined.sock"));
    podEvents = keepPodEvents({ config, log });
    const { gateway: ofGateway, rootDir, stateDir } = config;
    views = await keepViews({
      ...{ config: config.lxcfs, metrics, log, engine, stateDir },
      onHappening: podEvents?.record,
    });
    gateway = await keepGateway({ config: ofGateway, metrics, log, rootDir, views: views?.giver });
    door = keepDoor({ config, engine, metrics, log });
  } catch (cause) {
    await stop(); // what still listens would keep a process that serves nobody
    throw cause;
  }
  adopting = undefined;
  log.info({ ...found, accelerator, version: VERSION, pid: process.pid }, "ready");
  return { stop };
}

/** Undefined where roots of microvm containers all go through the share. */
async function openRoots(config: Config, log: Logger): Promise<GuestRoots | undefined> {
  const { enabled, builder: program, mkfs, maxImageBytes, layerBytes } = config.microvms.roots;
  if (!enabled) return undefined;
  // Of no machine: what it reads is a tenant's, what it writes all may read.
  const uid = config.machines.uidBase + config.machines.uidCount;
  return GuestRoots.open({
    dir: join(config.rootDir, "roots"),
    log,
    builder: { program, mkfs, uid, maxBytes: maxImageBytes },
    layerBytes,
  });
}

/** A directory of root alone, also where it was there before with other rights. */
async function makePrivateDir(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await chmod(dir, 0o700);
}

async function chooseAccelerator(config: Config, log: Logger): Promise<Accelerator> {
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

/** Machines that ask for what is not there are refused with the reason. */
async function existing({
  code,
  vars,
  secureCode,
  secureVars,
}: Config["machines"]["uefi"]): Promise<EngineConfig["machines"]["uefi"]> {
  if (!(await areThere(code, vars))) return undefined;
  return { code, vars, ...((await areThere(secureCode, secureVars)) ? { secureVars } : {}) };
}

async function areThere(...files: string[]): Promise<boolean> {
  return Promise.all(files.map((file) => access(file))).then(
    () => true,
    () => false,
  );
}

/** Read for each pod: a newer image takes its place while pods of the one before run on. */
async function guestImage(dir: string): Promise<GuestImage> {
  try {
    const { kernel, initrd, manifest } = await readGuestImage(dir);
    return { kernel, initrd, commandLine: manifest.cmdline };
  } catch (cause) {
    // For the pod that is refused for it nothing of its own is missing.
    if (kindOf(cause) !== "notFound") throw cause;
    throw new TrineError("wrongState", messageOf(cause), { cause });
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

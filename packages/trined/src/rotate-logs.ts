import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { ContainerState } from "@trine/proto/cri/api";
import { errnoOf, kindOf, messageOf, sleep } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";

const EVERY_MS = 10_000;
/** A runtime that hangs must not hold up the next look. */
const REOPEN_MS = 10_000;
const LOG = /^\d+\.log$/;
const STAMP = /^\d+\.log\.\d{8}T\d{9}$/;

export interface RotateConfig {
  /** Pods made by hand: `<dir>/pods/UID/logs/CONTAINER/N.log`. kubelet rotates those of its own pods. */
  readonly dir: string;
  readonly containerd: string;
  readonly maxBytes: number;
  /** With the one that is written. */
  readonly maxFiles: number;
}

/** Looks at the logs of pods made by hand now and again until the signal aborts. */
export async function keepLogsSmall(
  config: RotateConfig,
  log: Logger,
  signal: AbortSignal,
  everyMs = EVERY_MS,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await rotateLogs(config);
    } catch (cause) {
      // Tried again: nothing is lost but space.
      log.warn({ reason: messageOf(cause) }, "logs of pods made by hand are not rotated");
    }
    await sleep(everyMs, signal).catch(() => undefined); // the loop's head looks
  }
}

/**
 * Gives each log over the limit a name with the time in it, has the runtime open a new one, and removes the
 * oldest. Answers how many were rotated. Nothing is written twice or lost: the runtime goes on writing to the
 * renamed file until it has opened the new one.
 */
export async function rotateLogs(config: RotateConfig): Promise<number> {
  const { full, unopened } = await findLogs(config);
  if (full.length + unopened.length === 0) return 0;
  const cri = createCriClient(config.containerd);
  try {
    const running = await idsByLog(cri);
    for (const path of unopened) {
      const containerId = running.get(path);
      if (containerId === undefined) continue;
      await cri.runtime.reopenContainerLog({ containerId }, { timeoutMs: REOPEN_MS });
    }
    for (const path of full) {
      const id = running.get(path);
      // One that has ended writes no more.
      if (id === undefined) continue;
      const stamp = new Date().toISOString().replaceAll(/[-:.Z]/g, "");
      await rename(path, `${path}.${stamp}`);
      await reopen(cri, id, path, `${path}.${stamp}`);
      await removeOldest(path, config.maxFiles - 1);
    }
    return full.filter((path) => running.has(path)).length;
  } finally {
    cri.close();
  }
}

async function reopen(
  cri: CriClient,
  containerId: string,
  path: string,
  old: string,
): Promise<void> {
  try {
    await cri.runtime.reopenContainerLog({ containerId }, { timeoutMs: REOPEN_MS });
  } catch (cause) {
    // It has its old name back, or it ended meanwhile and the next look finds that.
    if (kindOf(cause) !== "notFound") await rename(old, path);
    throw cause;
  }
}

async function idsByLog({ runtime }: CriClient): Promise<ReadonlyMap<string, string>> {
  const { containers } = await runtime.listContainers({
    filter: { state: { state: ContainerState.CONTAINER_RUNNING } },
  });
  const statuses = await Promise.all(
    containers.map(({ id }) => runtime.containerStatus({ containerId: id }).catch(() => undefined)),
  );
  return new Map(
    statuses.flatMap((answer) =>
      answer?.status === undefined ? [] : [[answer.status.logPath, answer.status.id]],
    ),
  );
}

interface FoundLogs {
  readonly full: readonly string[];
  /** Renamed by somebody who was killed before the runtime was told: it still writes to the old name. */
  readonly unopened: readonly string[];
}

async function findLogs({ dir, maxBytes }: RotateConfig): Promise<FoundLogs> {
  const full: string[] = [];
  const unopened: string[] = [];
  for (const uid of await names(join(dir, "pods"))) {
    const logs = join(dir, "pods", uid, "logs");
    for (const container of await names(logs)) {
      const present = await names(join(logs, container));
      for (const name of present.filter((each) => LOG.test(each))) {
        const path = join(logs, container, name);
        const size = await stat(path).then((each) => each.size, unlessGone);
        if ((size ?? 0) > maxBytes) full.push(path);
      }
      const rotated = present
        .filter((each) => STAMP.test(each))
        .map((each) => each.replace(/\.[^.]*$/, ""));
      for (const name of new Set(rotated)) {
        if (!present.includes(name)) unopened.push(join(logs, container, name));
      }
    }
  }
  return { full, unopened };
}

async function removeOldest(path: string, keep: number): Promise<void> {
  const dir = join(path, "..");
  const own = (await names(dir)).filter(
    (name) => STAMP.test(name) && join(dir, name).startsWith(`${path}.`),
  );
  for (const name of own.sort().slice(0, Math.max(0, own.length - keep))) {
    await rm(join(dir, name), { force: true });
  }
}

async function names(dir: string): Promise<string[]> {
  return (await readdir(dir).catch(unlessGone)) ?? [];
}

function unlessGone(cause: unknown): undefined {
  if (errnoOf(cause) === "ENOENT" || errnoOf(cause) === "ENOTDIR") return undefined;
  throw cause;
}

import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { ContainerState } from "@trine/proto/cri/api";
import { TrineError, errnoOf, kindOf, messageOf, sleep } from "@trine/base";
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
  const ended = new Set<string>();
  while (!signal.aborted) {
    try {
      await rotateLogs(config, ended);
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
 * renamed file until it has opened the new one. One log that cannot be rotated keeps none of the others: the first
 * error is thrown at the end. `ended` keeps, from look to look, what no container writes any more: the runtime
 * is not asked for that again.
 */
export async function rotateLogs(config: RotateConfig, ended = new Set<string>()): Promise<number> {
  const found = await findLogs(config);
  const states = new Set(found.map(({ state }) => state));
  for (const state of ended) if (!states.has(state)) ended.delete(state);
  const open = found.filter(({ state }) => !ended.has(state));
  if (open.length === 0) return 0;
  const cri = createCriClient(config.containerd);
  try {
    const { ids, isWhole } = await idsByLog(cri);
    const problems: TrineError[] = [];
    let rotated = 0;
    for (const { path, state, isFull } of open) {
      const id = ids.get(path);
      // One that has ended writes no more.
      if (id === undefined && isWhole) ended.add(state);
      if (id === undefined) continue;
      try {
        if (isFull) await rotate(cri, id, path, config.maxFiles - 1);
        else await cri.runtime.reopenContainerLog({ containerId: id }, { timeoutMs: REOPEN_MS });
        if (isFull) rotated += 1;
      } catch (cause) {
        problems.push(new TrineError(kindOf(cause), `${path}: ${messageOf(cause)}`, { cause }));
      }
    }
    if (problems[0] !== undefined) throw problems[0];
    return rotated;
  } finally {
    cri.close();
  }
}

async function rotate(cri: CriClient, id: string, path: string, keep: number): Promise<void> {
  const old = `${path}.${new Date().toISOString().replaceAll(/[-:.Z]/g, "")}`;
  await rename(path, old);
  await reopen(cri, id, path, old);
  await removeOldest(path, keep);
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

/** Containers that run, by their log; not whole when one of them did not say which it has. */
async function idsByLog({
  runtime,
}: CriClient): Promise<{ readonly ids: ReadonlyMap<string, string>; readonly isWhole: boolean }> {
  const { containers } = await runtime.listContainers({
    filter: { state: { state: ContainerState.CONTAINER_RUNNING } },
  });
  const statuses = await Promise.all(
    containers.map(({ id }) => runtime.containerStatus({ containerId: id }).catch(() => undefined)),
  );
  const known = statuses.flatMap((answer) => (answer?.status === undefined ? [] : [answer.status]));
  const ids = new Map(known.map(({ logPath, id }) => [logPath, id]));
  return { ids, isWhole: known.length === containers.length };
}

interface FoundLog {
  readonly path: string;
  /** Else it was renamed by somebody who was killed before the runtime was told: that still writes to the old name. */
  readonly isFull: boolean;
  /** Path and size: another one when somebody has written since. */
  readonly state: string;
}

async function findLogs({ dir, maxBytes }: RotateConfig): Promise<FoundLog[]> {
  const found: FoundLog[] = [];
  for (const uid of await names(join(dir, "pods"))) {
    const logs = join(dir, "pods", uid, "logs");
    for (const container of await names(logs)) {
      const present = await names(join(logs, container));
      for (const name of present.filter((each) => LOG.test(each))) {
        const path = join(logs, container, name);
        const size = (await stat(path).then((each) => each.size, unlessGone)) ?? 0;
        if (size > maxBytes) found.push({ path, isFull: true, state: `${path} ${size}` });
      }
      const rotated = present
        .filter((each) => STAMP.test(each))
        .map((each) => each.replace(/\.[^.]*$/, ""));
      for (const name of new Set(rotated)) {
        const path = join(logs, container, name);
        if (!present.includes(name)) found.push({ path, isFull: false, state: path });
      }
    }
  }
  return found;
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

import { once } from "node:events";
import type { Readable } from "node:stream";
import { kindOf, sleep } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { readLog } from "../show/cri-log.ts";

/** Longer than what is on its way through the attach stream takes; the first bytes may wait as long. */
const SETTLE_MS = 50;
const EVERY_MS = 200;
/** How often the log is asked for what came between the start and the attach, while nothing comes live. */
const ROUNDS = 5;
/** More of both is not compared. */
const MAX_OVERLAP = 64 * 1024;

export interface Source {
  readonly cri: CriClient;
  readonly id: string;
  readonly logPath: string;
  readonly signal: AbortSignal;
}

/**
 * All a container with a terminal prints: CRI attaches only to one that runs, and what it printed before is
 * in its log alone. The log is taken up to an attach's first bytes; then the attach goes on.
 */
export async function* withPast(source: Source, live: Readable): AsyncGenerator<Buffer> {
  const held: Buffer[] = [];
  const hold = (chunk: Buffer): number => held.push(chunk);
  const heard = Promise.race([once(live, "data"), once(live, "close")]).catch(() => undefined);
  live.on("data", hold);
  const quiet = (): boolean => held.length === 0 && isOpen(live);
  let known = 0;
  for (let round = 0; round <= ROUNDS && (round === 0 || quiet()); round += 1) {
    if (round > 0) await Promise.race([sleep(EVERY_MS, source.signal), heard]);
    const log = await logSoFar(source);
    await sleep(SETTLE_MS, source.signal);
    yield toTerminal(withoutOverlap(log.subarray(known), Buffer.concat(held)));
    known = log.length;
  }
  live.off("data", hold);
  live.pause();
  if (held.length === 0 && !isOpen(live)) {
    // It ended before anything came this way: the log has all.
    await sleep(SETTLE_MS, source.signal);
    yield toTerminal((await logSoFar(source)).subarray(known));
    return;
  }
  yield* held;
  yield* live as AsyncIterable<Buffer>;
}

/** `past` up to where `live` begins: the log of one goes on while the other is open. Pure. */
export function withoutOverlap(past: Buffer, live: Buffer): Buffer {
  // The log has lost the carriage returns of a terminal's line ends.
  const next = Buffer.from(live.toString("latin1").replaceAll("\r\n", "\n"), "latin1");
  for (let size = Math.min(past.length, next.length, MAX_OVERLAP); size > 0; size -= 1) {
    const start = past.length - size;
    if (past.subarray(start).equals(next.subarray(0, size))) return past.subarray(0, start);
  }
  return past;
}

function isOpen(live: Readable): boolean {
  return !live.readableEnded && !live.destroyed;
}

function toTerminal(text: Buffer): Buffer {
  return Buffer.from(text.toString("latin1").replaceAll("\n", "\r\n"), "latin1");
}

async function logSoFar({ cri, id, logPath, signal }: Source): Promise<Buffer> {
  try {
    // containerd keeps the beginning of a line, such as a prompt, to itself until the log is opened anew.
    await cri.runtime.reopenContainerLog({ containerId: id });
  } catch (cause) {
    // One that has ended: its log is whole.
    if (!["wrongState", "notFound", "internal"].includes(kindOf(cause))) throw cause;
  }
  const parts: Buffer[] = [];
  for await (const { text } of readLog(logPath, { signal })) parts.push(text);
  return Buffer.concat(parts);
}

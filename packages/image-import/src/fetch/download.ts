import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { TrineError, errnoOf, kindOf, messageOf, sleep } from "@trine/base";
import type { OnProgress } from "../limits.ts";
import { sizeOf, writeParts } from "../write-sparse.ts";
import { requireSum } from "./checksum.ts";
import type { Checksum } from "./checksum.ts";
import { shown } from "./http-client.ts";
import type { HttpAnswer, HttpClient } from "./http-client.ts";

const FIRST_PAUSE_MS = 200;
/** A server that gives less than this is as good as stalled. */
const MIN_BYTES_PER_SECOND = 1024;
/** An attempt that brought this much gives the next ones their chances back. */
const WORTHWHILE_BYTES = 1024 * 1024;
const MAX_ATTEMPTS = 100;
const BATCH_BYTES = 1024 * 1024;
const MAX_RESTARTS = 3;

/** What a server said of the file; a later attempt goes on only with the same. */
export interface Version {
  /** A strong ETag or a date, for If-Range; undefined = cannot be gone on with. */
  readonly validator?: string;
  readonly totalBytes?: number;
}

/** Takes what comes, in order, each part before the next. */
export interface Sink {
  write(parts: readonly Buffer[], at: number): Promise<void>;
  /** It begins anew. */
  restart(): Promise<void>;
}

export interface Download {
  readonly url: URL;
  readonly to: FileHandle;
  /** Takes the bytes instead of `to`, which is empty. */
  readonly sink?: Sink;
  readonly checksum?: Checksum;
  readonly maxBytes: number;
  /** Absent: `--max-size`. */
  readonly limitSetBy?: string;
  readonly retries: number;
  readonly stallMs: number;
  /** What an earlier run left in `to`. */
  readonly begun?: Version;
  /** Told before the first byte of a version is written. */
  readonly onVersion: (version: Version) => Promise<void>;
  readonly onProgress: OnProgress;
}

interface State {
  at: number;
  version: Version;
  hash: Hash | undefined;
  restarts: number;
}

/**
 * Fetches a file, going on where an earlier attempt or run ended. Kind `conflict` when the server's file
 * changes under it, `invalid` when it is not what it was to be, `unavailable` or `timeout` when no attempt is left.
 */
export async function download(
  client: HttpClient,
  job: Download,
  signal: AbortSignal,
): Promise<void> {
  const state = await begin(job);
  let failures = 0;
  for (let attempt = 1; ; attempt++) {
    const before = state.at;
    try {
      await fetchOnce(client, job, state, signal);
      break;
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      if (!["unavailable", "timeout"].includes(kindOf(cause))) throw cause;
      failures = state.at - before >= WORTHWHILE_BYTES ? 1 : failures + 1;
      if (failures > job.retries || attempt >= MAX_ATTEMPTS) throw cause;
      await sleep(FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 6), signal);
    }
  }
  if (job.checksum !== undefined && state.hash !== undefined) {
    requireSum(job.checksum, state.hash, shown(job.url));
  }
}

async function begin(job: Download): Promise<State> {
  const { size } = await job.to.stat();
  const state: State = { at: 0, version: {}, hash: newHash(job), restarts: 0 };
  const { begun } = job;
  if (size === 0 || begun?.validator === undefined || size > job.maxBytes) {
    await job.to.truncate(0);
    return state;
  }
  for (let at = 0; at < size && state.hash !== undefined;) {
    const { buffer, bytesRead } = await job.to.read(Buffer.alloc(1 << 20), 0, 1 << 20, at);
    state.hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return { ...state, at: size, version: begun };
}

function newHash(job: Download): Hash | undefined {
  return job.checksum && createHash(job.checksum.algorithm);
}

async function fetchOnce(
  client: HttpClient,
  job: Download,
  state: State,
  signal: AbortSignal,
): Promise<void> {
  const { validator, totalBytes } = state.version;
  if (state.at > 0 && state.at === totalBytes) return;
  const goesOn = state.at > 0 && validator !== undefined;
  if (!goesOn) await restart(job, state);
  const headers = goesOn ? { range: `bytes=${state.at}-`, "if-range": validator } : {};
  const answer = await client.send({ url: job.url, headers }, signal);
  try {
    await accept(answer, job, state);
    await receive(answer, job, state);
  } finally {
    answer.message.destroy();
  }
}

/** Decides what an answer's body is: the rest, or all of it anew. */
async function accept(answer: HttpAnswer, job: Download, state: State): Promise<void> {
  const { status, message } = answer;
  const found = versionOf(message, status, job);
  if (status === 206) {
    // A part is asked for only behind what we have.
    if (state.at === 0) {
      const what = `${shown(job.url)}: sends a part of the file, where all of it was asked for`;
      throw new TrineError("invalid", what);
    }
    requireSame(state, found, rangeStart(message), job);
    return;
  }
  if (status === 416) {
    await restart(job, state);
    throw new TrineError(
      "unavailable",
      `${shown(job.url)}: the server has less than we have of it`,
    );
  }
  if (status !== 200) throw statusError(status, job.url);
  const encoding = message.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    throw new TrineError("invalid", `${shown(job.url)}: sent in an encoding nobody asked for`);
  }
  if (state.at > 0) await restart(job, state);
  state.version = found;
  await job.onVersion(found);
}

async function restart(job: Download, state: State): Promise<void> {
  if (state.at > 0 && ++state.restarts > MAX_RESTARTS) {
    throw new TrineError("conflict", `${shown(job.url)}: it changes again and again`);
  }
  await job.to.truncate(0);
  await job.sink?.restart();
  state.at = 0;
  state.hash = newHash(job);
  state.version = {};
}

function versionOf(message: IncomingMessage, status: number, job: Download): Version {
  const { etag, "last-modified": date, "content-length": length } = message.headers;
  // A weak tag does not promise the same bytes (RFC 9110, 13.1.5).
  const validator = etag?.startsWith('"') === true ? etag : date;
  const total =
    status === 206 ? rangeTotal(message) : length === undefined ? undefined : Number(length);
  if (total !== undefined && total > job.maxBytes) {
    const what = `${shown(job.url)}: ${total} bytes; the limit is ${job.maxBytes}`;
    throw new TrineError("invalid", `${what} (${job.limitSetBy ?? "--max-size"})`);
  }
  return {
    ...(validator === undefined ? {} : { validator }),
    ...(total === undefined ? {} : { totalBytes: total }),
  };
}

function requireSame(state: State, found: Version, start: number, job: Download): void {
  const { validator, totalBytes } = state.version;
  const isSame =
    start === state.at &&
    (found.validator === undefined || found.validator === validator) &&
    (totalBytes === undefined || found.totalBytes === totalBytes);
  if (isSame) return;
  throw new TrineError("conflict", `${shown(job.url)}: it changed while it was fetched: repeat`);
}

function rangeStart(message: IncomingMessage): number {
  return Number(/^bytes (\d+)-/.exec(message.headers["content-range"] ?? "")?.[1] ?? Number.NaN);
}

function rangeTotal(message: IncomingMessage): number | undefined {
  const total = /\/(\d+)$/.exec(message.headers["content-range"] ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

async function receive(answer: HttpAnswer, job: Download, state: State): Promise<void> {
  const { message } = answer;
  const total = state.version.totalBytes;
  const arrived = { at: state.at };
  const watch = watchRate(message, job, arrived);
  let batch: Buffer[] = [];
  // A write for each of a connection's small pieces would cost more than the pieces.
  const flush = async (): Promise<void> => {
    const parts = batch;
    batch = [];
    if (parts.length === 0) return;
    if (job.sink === undefined) await writeParts(job.to, parts, state.at);
    else await job.sink.write(parts, state.at);
    for (const part of parts) state.hash?.update(part);
    state.at += sizeOf(parts);
    job.onProgress({ step: "download", done: state.at, ...(total !== undefined && { total }) });
  };
  try {
    for await (const chunk of message as AsyncIterable<Buffer>) {
      arrived.at += chunk.length;
      refuseMore(arrived.at, total, job);
      batch.push(chunk);
      if (arrived.at - state.at >= BATCH_BYTES) await flush();
    }
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    const what = `${shown(job.url)}: cut off after ${arrived.at} bytes (${messageOf(cause)})`;
    throw new TrineError("unavailable", what, { cause });
  } finally {
    clearInterval(watch);
    // What has come by then is gone on with.
    await flush();
  }
  if (state.at === total && errnoOf(answer.failure())?.startsWith("HPE_") === true) {
    throw more(total, job);
  }
  if (total !== undefined && state.at < total) {
    const what = `${shown(job.url)}: cut off after ${state.at} of ${total} bytes`;
    throw new TrineError("unavailable", what);
  }
}

function refuseMore(bytes: number, total: number | undefined, job: Download): void {
  if (total !== undefined && bytes > total) {
    throw more(total, job);
  }
  if (bytes > job.maxBytes) {
    const what = `${shown(job.url)}: more than the limit of ${job.maxBytes} bytes`;
    throw new TrineError("invalid", `${what} (${job.limitSetBy ?? "--max-size"})`);
  }
}

function more(total: number, { url }: Download): TrineError {
  return new TrineError(
    "invalid",
    `${shown(url)}: sends more than the ${total} bytes it announced`,
  );
}

/** Ends an answer that comes too slowly to be one. */
function watchRate(
  message: IncomingMessage,
  job: Download,
  state: Pick<State, "at">,
): NodeJS.Timeout {
  let last = state.at;
  return setInterval(() => {
    const least = Math.max(1, (MIN_BYTES_PER_SECOND * job.stallMs) / 1000);
    if (state.at - last < least) {
      const what = `${shown(job.url)}: stalled after ${state.at} bytes, for ${job.stallMs} ms`;
      message.destroy(new TrineError("timeout", what));
    }
    last = state.at;
  }, job.stallMs);
}

function statusError(status: number, url: URL): TrineError {
  const what = `${shown(url)}: the server answers ${status}`;
  if (status === 401)
    return new TrineError("unauthenticated", `${what}: --auth-file names credentials`);
  if (status === 403) return new TrineError("forbidden", what);
  if (status === 404 || status === 410) return new TrineError("notFound", what);
  const mayPass = status >= 500 || status === 408 || status === 429;
  return new TrineError(mayPass ? "unavailable" : "invalid", what);
}

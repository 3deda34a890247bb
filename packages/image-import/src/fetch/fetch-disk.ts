import { statfs } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import type { Current, Job } from "../import-steps.ts";
import { download } from "./download.ts";
import type { Sink, Version } from "./download.ts";
import { HttpClient } from "./http-client.ts";

/** After these the same command can go on where it was. */
export const PASSING: readonly ErrorKind[] = ["unavailable", "timeout", "exhausted"];

/** Where a shortcut has what it cannot place yet. */
export interface Spool {
  readonly file: FileHandle;
  /** What others on that disk need, too. */
  readonly freeBytes: () => Promise<number>;
  /** All of what comes has to be kept in the file. */
  readonly keep: () => Promise<void>;
}

/** May take what is fetched to where it is to be, before anybody else has seen it. */
export interface Shortcut extends Sink {
  /** Before the first byte of a version. */
  begin(version: Version, spool: Spool): void;
  /** When all has come. */
  finish(signal: AbortSignal): Promise<void>;
  /** It has given up: what is fetched has to be fetched again, without it. */
  readonly isOff: boolean;
  /** What comes needs nothing more done with it. */
  readonly isTaking: boolean;
}

/**
 * Downloads into the work directory, from where an earlier run of the same ended. What a shortcut takes is not there, and is
 * fetched once more where it gives up later.
 */
export async function fetchDisk(job: Job, url: URL, shortcut?: Shortcut): Promise<Current> {
  if (shortcut === undefined) return fetchBy(job, url);
  try {
    const current = await fetchBy(job, url, shortcut);
    try {
      await shortcut.finish(job.signal);
      return current;
    } catch (cause) {
      await current.handle.close();
      throw cause;
    }
  } catch (cause) {
    if (!shortcut.isOff) throw cause;
    await job.work.forgetVersion();
    return fetchBy(job, url);
  }
}

async function fetchBy(job: Job, url: URL, shortcut?: Shortcut): Promise<Current> {
  const { request, work, signal, onProgress } = job;
  const { http, retries, checksum } = request;
  const { maxBytes, maxFetchedBytes, setBy } = request.limits;
  const client = await HttpClient.create(http);
  const { path, handle, begun } = await work.download();
  const way = begun === undefined ? shortcut : undefined;
  try {
    await download(
      client,
      {
        url,
        to: handle,
        maxBytes: maxFetchedBytes ?? maxBytes,
        ...(setBy !== undefined && { limitSetBy: setBy }),
        retries,
        stallMs: http.stallMs,
        ...(checksum && { checksum }),
        ...(begun && { begun }),
        ...(way && { sink: way }),
        onVersion: async (version) => {
          const keep = async (): Promise<void> => {
            await requireSpace(work.path, version);
            await work.keepVersion(version);
          };
          if (way === undefined) await keep();
          else {
            // A shortcut gives the file a length before it has the bytes: an earlier version would pass for whole.
            await work.forgetVersion();
            way.begin(version, { file: handle, freeBytes: () => freeBelow(work.path), keep });
          }
          request.onVersion?.(version);
        },
        onProgress: (progress) => {
          onProgress(way?.isTaking === true ? { ...progress, isLast: true } : progress);
        },
      },
      signal,
    );
  } catch (cause) {
    await handle.close();
    if (signal.aborted || request.keepPartial === "never") throw cause;
    if (!PASSING.includes(kindOf(cause)) || !(await work.isResumable())) throw cause;
    const advice = "what has come is kept, the same command goes on with it";
    throw new TrineError(kindOf(cause), `${messageOf(cause)}; ${advice}`, { cause });
  }
  return { handle, path, isOwn: true };
}

async function requireSpace(dir: string, { totalBytes = 0 }: Version): Promise<void> {
  const free = await freeBelow(dir);
  if (totalBytes <= free) return;
  throw new TrineError(
    "exhausted",
    `${totalBytes} bytes do not fit: ${free} are free below ${dir}`,
  );
}

async function freeBelow(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

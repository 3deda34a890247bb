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

/** May take what is fetched to where it is to be, before anybody else has seen it. */
export interface Shortcut extends Sink {
  /** Before the first byte of a version; `keep`: what it gives back has to be kept in `spool`. */
  begin(version: Version, spool: FileHandle, keep: () => Promise<void>): void;
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
    return fetchBy(job, url);
  }
}

async function fetchBy(job: Job, url: URL, shortcut?: Shortcut): Promise<Current> {
  const { request, work, signal, onProgress } = job;
  const { http, retries, checksum } = request;
  const client = await HttpClient.create(http);
  const { path, handle, begun } = await work.download();
  const way = begun === undefined ? shortcut : undefined;
  try {
    await download(
      client,
      {
        url,
        to: handle,
        maxBytes: request.limits.maxBytes,
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
          else way.begin(version, handle, keep);
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
  const { bavail, bsize } = await statfs(dir);
  if (totalBytes <= bavail * bsize) return;
  const what = `${totalBytes} bytes do not fit: ${bavail * bsize} are free below ${dir}`;
  throw new TrineError("exhausted", what);
}

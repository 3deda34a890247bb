import { statfs } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import type { Current, Job } from "../import-steps.ts";
import { download } from "./download.ts";
import type { Version } from "./download.ts";
import { HttpClient } from "./http-client.ts";

/** After these the same command can go on where it was. */
export const PASSING: readonly ErrorKind[] = ["unavailable", "timeout", "exhausted"];

/** Downloads into the work directory, from where an earlier run of the same ended. */
export async function fetchDisk(job: Job, url: URL): Promise<Current> {
  const { request, work, signal, onProgress } = job;
  const { http, retries, checksum } = request;
  const client = await HttpClient.create(http);
  const { path, handle, begun } = await work.download();
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
        onVersion: async (version) => {
          await requireSpace(work.path, version);
          await work.keepVersion(version);
          request.onVersion?.(version);
        },
        onProgress,
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

// A process of its own, in a container of a pod: fills one volume of it and ends, with 0 when the disk is whole.
import { statfs, writeFile } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import {
  DEFAULT_IMPORT_LIMITS,
  VolumeTarget,
  importToVolume,
  makeBlank,
} from "@trine/image-import";
import type { ImportLimits, VolumeRequest } from "@trine/image-import";
import { FILL_PLACES, mostFetched, volumeOrderSchema } from "@trine/node-door";
import type { VolumeOrder } from "@trine/node-door";
import * as v from "valibot";
import { httpOf } from "./http-of.ts";
import { DoneMarks } from "./done-marks.ts";
import { sourceFile } from "./source-file.ts";
import { receiveUpload } from "./receive-upload.ts";
import { Says } from "./says.ts";

/** A volume of the pod: outlives the container, not the pod. */
const WORK = FILL_PLACES.work;
const TERMINATION_LOG = "/dev/termination-log";
const MAX_ORDER = 256 * 1024;
const MAX_MESSAGE = 2_048;
const RETRIES = 8;
/** A file system with less is full for what is written in pieces. */
const FULL_BYTES = 8 * 1024 * 1024;

/** The exit code. */
export async function importVolume(text: string): Promise<number> {
  const over = new AbortController();
  process.once("SIGTERM", () => {
    over.abort(new TrineError("canceled", "the pod is ended"));
  });
  const says = new Says();
  try {
    const order = parseOrder(text);
    const marks = new DoneMarks(order, WORK);
    if (await marks.isDone()) {
      console.log(`import ${order.id} was done before`);
    } else {
      await fill(order, says, over.signal);
      await marks.done();
      console.log(`import ${order.id} is done`);
    }
    await says.end("done", "");
    return 0;
  } catch (cause) {
    const message = messageOf(cause).slice(0, MAX_MESSAGE);
    console.error(`import failed (${kindOf(cause)}): ${message}`);
    await says.end("failed", message);
    await writeFile(TERMINATION_LOG, JSON.stringify({ kind: kindOf(cause), message }));
    return 1;
  }
}

function parseOrder(text: string): VolumeOrder {
  if (text.length > MAX_ORDER) throw new TrineError("invalid", "the order is too long");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TrineError("invalid", "the order is no JSON", { cause });
  }
  const result = v.safeParse(volumeOrderSchema, value);
  if (result.success) return result.output;
  throw new TrineError("invalid", `the order: ${v.summarize(result.issues).slice(0, 500)}`);
}

async function fill(order: VolumeOrder, says: Says, signal: AbortSignal): Promise<void> {
  const { source } = order;
  if (source.kind === "upload") {
    // One that has no room for the disk is no place for an upload either.
    const target = await openTarget(order);
    const maxBytes = mostOf(target);
    await target.discard();
    await receiveUpload({ says, workDir: WORK, maxBytes, signal }, (file) =>
      writeTo(
        order,
        (limits) => Promise.resolve({ ...requestOf(limits), source: file }),
        says,
        signal,
      ),
    );
    return;
  }
  await writeTo(order, (limits) => requestFor(order, limits), says, signal);
}

/** It lies on the node's own disk until it is written. */
function mostOf({ maxBytes }: VolumeTarget): number {
  return Math.min(DEFAULT_IMPORT_LIMITS.maxBytes, mostFetched(maxBytes));
}

function openTarget({ target: path, sizeBytes }: VolumeOrder): Promise<VolumeTarget> {
  return VolumeTarget.open({ path, ...(sizeBytes === undefined ? {} : { sizeBytes }) });
}

/** Into a target that is whole in the end, or not there. */
async function writeTo(
  order: VolumeOrder,
  request: (limits: ImportLimits) => Promise<VolumeRequest>,
  says: Says,
  signal: AbortSignal,
): Promise<void> {
  const target = await openTarget(order);
  const limits = { ...DEFAULT_IMPORT_LIMITS, maxBytes: mostOf(target) };
  try {
    if (order.source.kind === "blank") await makeBlank(target);
    else await importToVolume(target, await request(limits), says.onProgress, signal);
    await target.finish();
  } catch (cause) {
    const told = kindOf(cause) === "exhausted" ? await withRemedy(cause, order.target) : cause;
    await target.discard();
    throw told;
  }
  await target.close();
}

/** Which of both disks is full, while what was written is still there. */
async function withRemedy(cause: unknown, path: string): Promise<TrineError> {
  const { bavail, bsize } = await statfs(path);
  const remedy =
    bavail * bsize < FULL_BYTES
      ? "make room on the volume, or make the DataVolume anew with a larger one; it is tried again"
      : "make room on the node's disk, where it lies until it is written; it is tried again";
  return new TrineError("exhausted", `${messageOf(cause)}: ${remedy}`, { cause });
}

function requestOf(limits: ImportLimits): Omit<VolumeRequest, "source"> {
  return {
    limits,
    http: { environment: process.env, credentials: () => undefined, stallMs: 60_000 },
    retries: RETRIES,
    keepPartial: true,
    workDir: WORK,
  };
}

async function requestFor({ source }: VolumeOrder, limits: ImportLimits): Promise<VolumeRequest> {
  const request = requestOf(limits);
  switch (source.kind) {
    case "http":
      return { ...request, ...(await httpOf(source, request.http, WORK)) };
    case "image":
    case "volume":
      return { ...request, ...(await sourceFile(source)) };
    case "blank":
    case "upload":
      throw new TrineError("internal", `${source.kind} is fetched from nowhere`);
  }
}

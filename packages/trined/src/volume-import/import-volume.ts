// A process of its own, in a container of a pod: fills one volume of it and ends, with 0 when the disk is whole.
import { writeFile } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import {
  DEFAULT_IMPORT_LIMITS,
  VolumeTarget,
  giveVolume,
  importToVolume,
  makeBlank,
  takeVolume,
} from "@trine/image-import";
import type { ImportLimits, VolumeRequest } from "@trine/image-import";
import {
  FILL_PLACES,
  giveOrderSchema,
  mostFetched,
  mostUnpacked,
  volumeOrderSchema,
} from "@trine/node-door";
import type { GiveOrder, VolumeOrder } from "@trine/node-door";
import * as v from "valibot";
import { httpOf } from "./http-of.ts";
import { giveToAll, takeFromOne } from "./copy-sides.ts";
import { intoTarget, tryTarget } from "./into-target.ts";
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

/** The exit code. */
export async function importVolume(text: string): Promise<number> {
  const over = new AbortController();
  process.once("SIGTERM", () => {
    over.abort(new TrineError("canceled", "the pod is ended"));
  });
  const says = new Says();
  try {
    const order = parseOrder(text);
    if ("give" in order) await giveAway(order, says, over.signal);
    else await fillOnce(order, says, over.signal);
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

async function fillOnce(order: VolumeOrder, says: Says, signal: AbortSignal): Promise<void> {
  const marks = new DoneMarks(order, WORK);
  if (await marks.isDone()) {
    console.log(`import ${order.id} was done before`);
    return;
  }
  await fill(order, says, signal);
  await marks.done();
  console.log(`import ${order.id} is done`);
}

/** Until its pod is ended. */
async function giveAway({ give }: GiveOrder, says: Says, signal: AbortSignal): Promise<void> {
  const { source } = await sourceFile({ kind: "volume", path: give });
  await giveToAll({ says, signal }, (left) => giveVolume(source, left));
}

function parseOrder(text: string): VolumeOrder | GiveOrder {
  if (text.length > MAX_ORDER) throw new TrineError("invalid", "the order is too long");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TrineError("invalid", "the order is no JSON", { cause });
  }
  const isGive = typeof value === "object" && value !== null && "give" in value;
  const result = v.safeParse(isGive ? giveOrderSchema : volumeOrderSchema, value);
  if (result.success) return result.output;
  throw new TrineError("invalid", `the order: ${v.summarize(result.issues).slice(0, 500)}`);
}

async function fill(order: VolumeOrder, says: Says, signal: AbortSignal): Promise<void> {
  const { source } = order;
  if (source.kind === "upload") {
    // One that has no room for the disk is no place for an upload either.
    const target = await openTarget(order);
    const { maxFetchedBytes: maxBytes } = limitsOf(target);
    await tryTarget(target, signal);
    await receiveUpload({ says, workDir: WORK, maxBytes, signal }, (file) =>
      writeTo(
        order,
        (into, limits) =>
          importToVolume(into, { ...requestOf(limits), source: file }, says.onProgress, signal),
        signal,
      ),
    );
    return;
  }
  if (source.kind === "copy") {
    await takeFromOne({ says, signal }, (chunks) =>
      writeTo(order, (target) => takeVolume(target, chunks, says.onProgress, signal), signal),
    );
    return;
  }
  const write = async (target: VolumeTarget, limits: ImportLimits): Promise<void> => {
    if (source.kind === "blank") await makeBlank(target);
    else await importToVolume(target, await requestFor(order, limits), says.onProgress, signal);
  };
  await writeTo(order, write, signal);
}

/** It lies on the node's own disk until it is written. */
function limitsOf({ maxBytes }: VolumeTarget): ImportLimits & { readonly maxFetchedBytes: number } {
  const most = DEFAULT_IMPORT_LIMITS.maxBytes;
  return {
    ...DEFAULT_IMPORT_LIMITS,
    maxBytes: Math.min(most, mostUnpacked(maxBytes)),
    maxFetchedBytes: Math.min(most, mostFetched(maxBytes)),
    setBy: "the volume's size sets it",
  };
}

function openTarget({ target, sizeBytes, preallocate }: VolumeOrder): Promise<VolumeTarget> {
  return VolumeTarget.open({
    path: target,
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(preallocate !== undefined && { preallocate }),
  });
}

/** Into a target that is whole in the end, or not there. */
async function writeTo(
  order: VolumeOrder,
  write: (target: VolumeTarget, limits: ImportLimits) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const target = await openTarget(order);
  await intoTarget(target, order.target, () => write(target, limitsOf(target)), signal);
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
    case "copy":
      throw new TrineError("internal", `${source.kind} is fetched from nowhere`);
  }
}

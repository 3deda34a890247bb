import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import {
  ERROR_KINDS,
  JsonLines,
  TrineError,
  abortable,
  kindOf,
  messageOf,
  printable,
  withDeadline,
} from "@trine/base";
import { CLAIMS, PODS, type Pod, type Stored } from "@trine/kube-client";
import { FILLER_CONTAINER, FILLER_LABEL, UploadFrames } from "@trine/node-door";
import * as v from "valibot";
import type { VirtApiDeps } from "../deps.ts";
import { type Answer, text } from "../http/answer.ts";
import { badRequest } from "../refusals/refusal.ts";
import { fileOfForm } from "./file-of-form.ts";
import { type UploadClaims, readToken } from "./upload-token.ts";

interface Way {
  /** The answer comes when the disk is whole, or when its bytes are all there. */
  readonly until: "whole" | "received";
  /** A form with the file, as browsers send it; else the file itself. */
  readonly isForm: boolean;
}

const WAYS: ReadonlyMap<string, Way> = new Map(
  ["v1beta1", "v1alpha1"].flatMap((version): (readonly [string, Way])[] => [
    [`/${version}/upload`, { until: "whole", isForm: false }],
    [`/${version}/upload-async`, { until: "received", isForm: false }],
    [`/${version}/upload-form`, { until: "whole", isForm: true }],
    [`/${version}/upload-form-async`, { until: "received", isForm: true }],
  ]),
);
/** A client that sends nothing for as long has left. */
const STALL_MS = 60_000;
/** An import that takes nothing for as long has a disk that takes nothing either. */
const TAKE_MS = 300_000;
/** What is taken of an upload that is refused. */
const REFUSED_BYTES = 1024 * 1024;
const REFUSED_MS = 1_000;
/** A node may be anybody's by now. */
const WORD_LIMITS = { maxLineBytes: 16_384, maxDepth: 4 };

const wordSchema = v.union([
  v.object({ received: v.literal(true) }),
  v.object({ done: v.literal(true) }),
  v.object({ kind: v.picklist(ERROR_KINDS), message: v.string() }),
]);

type Deps = Pick<VirtApiDeps, "kube" | "doorOf" | "uploadKey" | "now">;

export function isUpload(path: string): boolean {
  return WAYS.has(path);
}

/** Takes what a token allows to the import that waits for it. What is cut off on the way reaches nobody as whole. */
export async function takeUpload(
  deps: Deps,
  path: string,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<Answer> {
  const { method } = request;
  const way = WAYS.get(path);
  if (way === undefined) throw new TrineError("notFound", "no upload is taken there");
  if (method === "HEAD") return text(""); // clients ask so which of the paths are there
  if (method !== "POST" && method !== "PUT") {
    throw new TrineError("unimplemented", "an upload is a POST");
  }
  const stream = await openImport(deps, request, signal).catch(async (cause: unknown) => {
    await takeSome(request);
    throw cause;
  });
  stream.on("error", () => undefined); // told by what is waited for
  try {
    const words = wordsOf(stream);
    const early = words.next();
    const sent = Promise.race([send(request, way.isForm, stream, signal), refusedBefore(early)]);
    await abortable("upload", signal, sent);
    expectWord(await abortable("upload", signal, early));
    if (way.until === "whole") expectWord(await abortable("upload", signal, words.next()));
    return text("");
  } catch (cause) {
    throw toldOf(cause);
  } finally {
    stream.destroy(); // what the import has said, it has said of all that was sent
  }
}

async function openImport(
  deps: Deps,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<Duplex> {
  const pod = await waitingPod(deps, claimsOf(deps, request), signal);
  const { namespace = "", name, uid } = pod.metadata;
  const door = await deps.doorOf(pod.spec.nodeName ?? "", signal);
  return door.upload({ namespace, pod: name, uid }, FILLER_CONTAINER, signal);
}

/** A connection that ends with bytes unread may take its answer along: a client that has sent its first ones hears why. */
function takeSome(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let bytes = 0;
    const done = (): void => {
      clearTimeout(late);
      request.off("data", take);
      request.pause();
      resolve();
    };
    const late = setTimeout(done, REFUSED_MS);
    const take = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > REFUSED_BYTES) done();
    };
    request.on("data", take).once("end", done).once("close", done);
  });
}

function claimsOf({ uploadKey, now }: Deps, { headers }: IncomingMessage): UploadClaims {
  const [, token = ""] = /^bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
  const claims = readToken(token, uploadKey(), now());
  if (claims === undefined) throw new TrineError("unauthenticated", "Unauthorized");
  return claims;
}

/** The pod that fills the claim of the token, and no other of its name. */
async function waitingPod(
  { kube }: Deps,
  { namespace, name, uid }: UploadClaims,
  signal: AbortSignal,
): Promise<Stored<Pod>> {
  const claim = await kube.get(CLAIMS, { namespace, name }, signal).catch((cause: unknown) => {
    if (kindOf(cause) === "notFound") return undefined;
    throw cause;
  });
  if (claim?.metadata.uid !== uid) throw new TrineError("unauthenticated", "Unauthorized");
  // Of a DataVolume's claim it is the DataVolume that is filled; others are filled for themselves.
  const owner = claim.metadata.ownerReferences?.find(({ controller }) => controller === true);
  const labelSelector = `${FILLER_LABEL}=${owner?.uid ?? uid}`;
  const { items } = await kube.list(PODS, { namespace, labelSelector }, signal);
  const pod = items.find(
    ({ status, metadata }) =>
      status?.phase === "Running" && metadata.deletionTimestamp === undefined,
  );
  if (pod !== undefined) return pod;
  throw new TrineError("unavailable", `claim ${namespace}/${name} waits for no upload`);
}

/** Who is refused in the middle is answered still. */
function bodyOf(request: IncomingMessage, isForm: boolean): AsyncIterable<Buffer> {
  const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  return isForm ? fileOfForm(body, request.headers["content-type"] ?? "") : body;
}

async function send(
  request: IncomingMessage,
  isForm: boolean,
  to: Duplex,
  signal: AbortSignal,
): Promise<void> {
  let late: NodeJS.Timeout | undefined;
  const wait = (): void => {
    late = setTimeout(() => {
      request.destroy(new TrineError("timeout", `nothing came for ${STALL_MS} ms`));
    }, STALL_MS);
  };
  try {
    wait();
    for await (const chunk of bodyOf(request, isForm)) {
      // While the import is waited for, it is not the client that says nothing.
      clearTimeout(late);
      for (const part of UploadFrames.part(chunk)) {
        if (!to.write(part)) await taken(to, signal);
      }
      wait();
    }
    if (!request.complete) throw new TrineError("canceled", "the upload was cut off");
    to.write(UploadFrames.end());
  } finally {
    clearTimeout(late);
  }
}

async function taken(to: Duplex, signal: AbortSignal): Promise<void> {
  const drained = abortable("upload", signal, once(to, "drain"));
  await withDeadline("the import takes nothing of what is sent", TAKE_MS, drained);
}

async function* wordsOf(stream: Duplex): AsyncGenerator {
  const lines = new JsonLines(WORD_LIMITS);
  for await (const bytes of stream as AsyncIterable<Buffer>) {
    for (const line of lines.push(bytes)) {
      if ("value" in line) yield line.value;
      else throw new TrineError("unavailable", `the import: ${messageOf(line.error)}`);
    }
  }
  throw new TrineError("unavailable", "the import has ended the upload without a word");
}

/** Rejects when the import refuses while it is still sent to; never resolves. */
async function refusedBefore(early: Promise<IteratorResult<unknown>>): Promise<never> {
  expectWord(await early);
  return new Promise(() => undefined);
}

function expectWord({ value }: IteratorResult<unknown>): void {
  const word = v.parse(wordSchema, value);
  if ("kind" in word) throw new TrineError(word.kind, printable(word.message, 1_024));
}

/** What the client sent is no disk: its own fault, and not to be tried again. */
function toldOf(cause: unknown): unknown {
  const isClients = ["invalid", "malformed"].includes(kindOf(cause));
  return isClients && cause instanceof Error ? badRequest(cause.message) : cause;
}

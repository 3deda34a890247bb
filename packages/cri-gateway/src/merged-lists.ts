import { FrameReader, MAX_FRAME_BYTES } from "./grpc-frame.ts";
import { BackEndFailure, CODE, codeOf } from "./grpc-status.ts";
import type { BackEnd } from "./back-end.ts";
import { mergeImages } from "./merge-images.ts";
import { listPath } from "./methods.ts";
import type { ListKind } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import type { ServerCall } from "./server-call.ts";
import { pass } from "./relay.ts";
import { bytesField, checkFields, itemsAt, messageAt, stringAt } from "./wire.ts";

/** Images in one message of StreamImages. */
const IMAGES_A_MESSAGE = 500;

/** A list of all back ends: their encoded items one after the other; where only one can have them, as it sends them. */
export async function callList(node: NodeState, call: ServerCall, list: ListKind): Promise<void> {
  const [only, ...others] = backEndsFor(node, call, list);
  if (only !== undefined && others.length === 0) await relayList(node, call, list, only);
  else call.reply(Buffer.concat(await listAll(node, call, list)));
}

/** Passes a list on as it comes; what there is to learn of it is read beside, or later. */
async function relayList(
  node: NodeState,
  call: ServerCall,
  list: ListKind,
  backEnd: BackEnd,
): Promise<void> {
  const token = node.registry.token();
  const reading = startReading(node, call, list, backEnd);
  try {
    const patienceMs = node.patienceMs(call);
    const end = await pass(call, backEnd, { patienceMs, ...(reading && { see: reading.see }) });
    if (end instanceof BackEndFailure) {
      // Of a call that was given up the failure is ours, not the back end's.
      if (isUnimplemented(end) || call.isGone) throw end;
      call.reply(instead(node, call, { list, backEnd, cause: end, hasAnswer: false }));
      return;
    }
    call.end(end);
    const answer = codeOf(end) === 0 ? reading?.answer() : undefined;
    if (answer === undefined) return;
    learn(node, { list, backEnd: backEnd.name, request: call.message, answer, token });
  } finally {
    reading?.done();
  }
}

interface Reading {
  readonly see: (part: Buffer) => void;
  /** The list, once it is whole; undefined where what came is none: its client has it, and nothing is learnt of it. */
  readonly answer: () => Buffer | undefined;
  readonly done: () => void;
}

/**
 * Keeps what passes, to learn of it. Undefined where there is nothing to learn: also while the same list is on its way to another
 * client. Many that are asked for at once would be held in memory for nothing.
 */
function startReading(
  { registry }: NodeState,
  { message }: ServerCall,
  { records, unary }: ListKind,
  { name }: BackEnd,
): Reading | undefined {
  if (records === undefined) return undefined;
  const key = `${unary} ${name} ${message.toString("base64")}`;
  const reading = registry.startReading(key);
  if (reading === undefined) return undefined;
  const parts: Buffer[] = [];
  let size = 0;
  return {
    see: (part) => {
      size += part.length;
      // One longer than any list goes through, but is not kept.
      if (size <= MAX_FRAME_BYTES) parts.push(part);
    },
    answer: () => {
      if (size > MAX_FRAME_BYTES) return undefined;
      const [answer, ...others] = new FrameReader().take(Buffer.concat(parts));
      if (answer === undefined || others.length > 0) return undefined;
      checkFields(answer);
      return answer;
    },
    done: () => {
      registry.endReading(key, reading);
    },
  };
}

/** The same in parts, as each back end sends them; one without streams is asked for its list. */
export async function callStream(node: NodeState, call: ServerCall, list: ListKind): Promise<void> {
  const backEnds = backEndsFor(node, call, list);
  if (list.records === "image" && backEnds.length > 1) {
    await streamImages(node, call, list);
    return;
  }
  const results = await Promise.allSettled(
    backEnds.map((backEnd) => streamOne(node, call, list, backEnd)),
  );
  const failures = results.filter((result) => result.status === "rejected");
  const hasAnswer = failures.length < results.length;
  // Kubelet asks for the unary list where streams are not there: only where nobody has them.
  const isOld = results.every((each) => each.status === "rejected" && isUnimplemented(each.reason));
  if (isOld) throw failures[0]?.reason;
  for (const [index, result] of results.entries()) {
    const backEnd = backEnds[index];
    if (result.status === "fulfilled" || backEnd === undefined) continue;
    const known = isUnimplemented(result.reason)
      ? await listOne(node, call, list, backEnd).catch((cause: unknown) =>
          instead(node, call, { list, backEnd, cause, hasAnswer }),
        )
      : instead(node, call, { list, backEnd, cause: result.reason, hasAnswer });
    if (known.length > 0) await call.send(known);
  }
  call.respond();
  call.end({ "grpc-status": "0" });
}

/** Each back end's items, encoded as field 1. */
async function listAll(node: NodeState, call: ServerCall, list: ListKind): Promise<Buffer[]> {
  const backEnds = backEndsFor(node, call, list);
  const results = await Promise.allSettled(
    backEnds.map((backEnd) => listOne(node, call, list, backEnd)),
  );
  const old = results.filter((each) => each.status === "rejected" && isUnimplemented(each.reason));
  const [first] = old;
  if (first?.status === "rejected" && old.length === results.length) throw first.reason;
  const hasAnswer = results.some(({ status }) => status === "fulfilled");
  const answers = results.map((result, index) => {
    if (result.status === "fulfilled") return result.value;
    const backEnd = backEnds[index] ?? node.defaultBackEnd;
    return instead(node, call, { list, backEnd, cause: result.reason, hasAnswer });
  });
  if (list.records !== "image" || answers.length === 1) return answers;
  return [itemsField(mergeImages(answers.flatMap((answer) => itemsAt(answer, 1))))];
}

export function isUnimplemented(cause: unknown): boolean {
  return cause instanceof BackEndFailure && cause.code === CODE.unimplemented;
}

/** The back ends that can have what the filter wants: one, where it names an object that is known. */
function backEndsFor(node: NodeState, call: ServerCall, list: ListKind): readonly BackEnd[] {
  if (node.backEnds.length === 1 || list.records === "image") return node.backEnds;
  const filter = messageAt(call.message, 1);
  const isContainers = list.unary.includes("Container");
  const ids = [
    [isContainers ? "container" : "sandbox", stringAt(filter, 1)],
    ["sandbox", isContainers ? podIdOf(list, filter) : ""],
  ] as const;
  for (const [kind, id] of ids) {
    const known = node.registry.find(kind, id);
    if (known !== undefined) return [node.backEnd(known.backEnd)];
  }
  return node.backEnds;
}

/** pod_sandbox_id is field 3 of a ContainerFilter and 2 of a ContainerStatsFilter. */
function podIdOf(list: ListKind, filter: Uint8Array): string {
  return stringAt(filter, list.records === "container" ? 3 : 2);
}

async function listOne(
  node: NodeState,
  call: ServerCall,
  list: ListKind,
  backEnd: BackEnd,
): Promise<Buffer> {
  const token = node.registry.token();
  const answer = await node.ask(backEnd, listPath(list, "unary"), call.message, call);
  learn(node, { list, backEnd: backEnd.name, request: call.message, answer, token });
  return answer;
}

interface Answer {
  readonly list: ListKind;
  readonly backEnd: string;
  readonly request: Buffer;
  readonly answer: Buffer;
  readonly token: number;
}

function learn(node: NodeState, { list, backEnd, request, answer, token }: Answer): void {
  node.absence(backEnd, undefined);
  const { records } = list;
  if (records === undefined) return;
  const isWhole = messageAt(request, 1).length === 0;
  if (records === "image") {
    if (isWhole) node.registry.setImages(backEnd, answer);
  } else if (isWhole) node.registry.replace(records, backEnd, answer, token);
  else for (const item of itemsAt(answer, 1)) node.registry.learn(records, backEnd, item, token);
}

interface Missing {
  readonly list: ListKind;
  readonly backEnd: BackEnd;
  readonly cause: unknown;
  /** Another back end has answered. */
  readonly hasAnswer: boolean;
}

/**
 * What stands in for the answer of a back end that gave none: what was last known of it, nothing of what it does not have, and
 * nothing of what is measured while others are. A failure of any other kind is the call's.
 */
function instead(node: NodeState, call: ServerCall, missing: Missing): Buffer {
  const { list, backEnd, cause, hasAnswer } = missing;
  if (isUnimplemented(cause)) return Buffer.alloc(0);
  if (!(cause instanceof BackEndFailure) || !cause.isAbsent) throw cause;
  const filter = messageAt(call.message, 1);
  const items =
    list.records === undefined
      ? hasAnswer
        ? []
        : undefined
      : list.records === "image"
        ? node.registry.images(backEnd.name, stringAt(filter, 1, 1))
        : node.registry.list(list.records, backEnd.name, filter);
  if (items === undefined) throw cause;
  call.leaveOut(backEnd.name);
  node.absence(backEnd.name, cause.message);
  return itemsField(items);
}

function itemsField(items: readonly Uint8Array[]): Buffer {
  return Buffer.concat(items.map((item) => bytesField(1, item)));
}

/** Sends on what a back end sends. Absent after its first message, the call fails: what is missing nobody knows. */
async function streamOne(
  node: NodeState,
  call: ServerCall,
  list: ListKind,
  backEnd: BackEnd,
): Promise<void> {
  const token = node.registry.token();
  const parts: Buffer[] = [];
  try {
    for await (const part of backEnd.stream(call.path, call.message, call.options)) {
      if (list.records !== undefined) parts.push(part);
      await call.send(part);
    }
  } catch (cause) {
    if (parts.length > 0) call.fail(cause);
    throw cause;
  }
  const answer = Buffer.concat(parts);
  learn(node, { list, backEnd: backEnd.name, request: call.message, answer, token });
}

/** One image may be in two stores: they are merged before any is sent. */
async function streamImages(node: NodeState, call: ServerCall, list: ListKind): Promise<void> {
  const images = itemsAt(Buffer.concat(await listAll(node, call, list)), 1);
  for (let at = 0; at < images.length; at += IMAGES_A_MESSAGE) {
    await call.send(itemsField(images.slice(at, at + IMAGES_A_MESSAGE)));
  }
  call.respond();
  call.end({ "grpc-status": "0" });
}

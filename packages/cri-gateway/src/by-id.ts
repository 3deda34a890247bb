import { BackEndFailure, CODE } from "./grpc-status.ts";
import type { How } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import { relay } from "./relay.ts";
import type { ServerCall } from "./server-call.ts";
import type { BackEnd } from "./back-end.ts";
import type { StreamRelay } from "./stream-relay.ts";
import { bytesField, stringAt } from "./wire.ts";

type ById = Extract<How, { how: "sandbox" | "container" }>;

/** A call about one sandbox or container goes to the back end that has it; of one that is nowhere the default says so. */
export async function callById(
  node: NodeState,
  call: ServerCall,
  how: ById,
  streams: StreamRelay | undefined,
): Promise<void> {
  const known = await node.locate(how.how, stringAt(call.message, 1), call);
  const backEnd = known === undefined ? node.defaultBackEnd : node.backEnd(known.backEnd);
  const { streaming = "auto" } = backEnd.at;
  if (how.streams === true && streaming !== "direct" && streams !== undefined) {
    await callStreams(call, backEnd, streams);
    return;
  }
  if (how.effect === undefined && how.masked === undefined) {
    await relay(call, backEnd);
    return;
  }
  call.backEnd = backEnd.name;
  try {
    const answer = await backEnd.unary(call.path, call.message, call.options);
    call.reply(answer);
  } catch (cause) {
    const isGone = cause instanceof BackEndFailure && cause.code === CODE.notFound;
    if (how.masked !== true || !isGone) throw cause;
    // The interface says that what is gone counts as done; containerd 1.6 answers not found.
    call.reply(Buffer.alloc(0));
  }
  if (known !== undefined && how.effect !== undefined) {
    node.registry.apply(how.how, known.id, how.effect);
  }
}

/** Exec, Attach and PortForward answer a URL (field 1): the back end's where kubelet can reach it, else one of ours. */
async function callStreams(
  call: ServerCall,
  backEnd: BackEnd,
  streams: StreamRelay,
): Promise<void> {
  call.backEnd = backEnd.name;
  const answer = await backEnd.unary(call.path, call.message, call.options);
  const url = stringAt(answer, 1);
  const { streaming = "auto", streamVia = "" } = backEnd.at;
  const isOurs = streaming === "relay" || streamVia !== "" || !/^https?:\/\//.test(url);
  if (!isOurs) {
    call.reply(answer);
    return;
  }
  // Appended: the last one holds.
  call.reply(Buffer.concat([answer, bytesField(1, await streams.offer(url, streamVia))]));
}

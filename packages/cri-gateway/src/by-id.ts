import { BackEndFailure, CODE } from "./grpc-status.ts";
import type { How } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import { relay } from "./relay.ts";
import type { ServerCall } from "./server-call.ts";
import { stringAt } from "./wire.ts";

type ById = Extract<How, { how: "sandbox" | "container" }>;

/** A call about one sandbox or container goes to the back end that has it; of one that is nowhere the default says so. */
export async function callById(node: NodeState, call: ServerCall, how: ById): Promise<void> {
  const known = await node.locate(how.how, stringAt(call.message, 1), call);
  const backEnd = known === undefined ? node.defaultBackEnd : node.backEnd(known.backEnd);
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

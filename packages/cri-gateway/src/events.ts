import { messageOf, sleep } from "@trine/base";
import type { BackEnd } from "./back-end.ts";
import { trailersOf } from "./grpc-status.ts";
import { isUnimplemented } from "./merged-lists.ts";
import type { NodeState } from "./node-state.ts";
import type { ServerCall } from "./server-call.ts";
import { stringAt } from "./wire.ts";

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;

/**
 * Events of all back ends in one stream, which outlives any of them: one that goes away is asked again. It ends when every back end
 * has said that it has no events, as the first of them said it.
 */
export async function callEvents(node: NodeState, call: ServerCall): Promise<void> {
  const ends = await Promise.all(node.backEnds.map((backEnd) => follow(node, call, backEnd)));
  if (call.signal.aborted) return;
  const refusal = ends.find((end) => end !== undefined);
  const hasEnded = ends.includes(undefined);
  call.respond();
  call.end(hasEnded || refusal === undefined ? trailersOf(0) : refusal);
}

/** Resolves with the failure of a back end that has no such call, undefined for one that ended its stream well. */
async function follow(
  node: NodeState,
  call: ServerCall,
  backEnd: BackEnd,
): Promise<Record<string, string | string[]> | undefined> {
  let retryMs = FIRST_RETRY_MS;
  for (;;) {
    try {
      for await (const event of backEnd.stream(call.path, call.message, call.options)) {
        retryMs = FIRST_RETRY_MS;
        learnEvent(node, backEnd, event);
        await call.send(event);
      }
      return undefined;
    } catch (cause) {
      if (call.signal.aborted) return undefined;
      if (isUnimplemented(cause)) return { ...(cause as { trailers: object }).trailers };
      node.log.debug({ backEnd: backEnd.name, err: messageOf(cause) }, "events were cut off");
    }
    await sleep(retryMs, call.signal).catch(() => undefined); // the client has left: seen at once
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
  }
}

/** ContainerEventResponse: the container, and the sandbox's id in its status. */
function learnEvent(node: NodeState, backEnd: BackEnd, event: Buffer): void {
  const [container, sandbox] = [stringAt(event, 1), stringAt(event, 4, 1)];
  const { registry } = node;
  const isNew =
    registry.find("container", container) === undefined &&
    registry.find("sandbox", sandbox === "" ? container : sandbox) === undefined;
  if (isNew) void node.rebuild(backEnd);
}

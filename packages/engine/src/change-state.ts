import { messageOf } from "@trine/base";
import type { Undo } from "@trine/base";
import type { PodContext } from "./pod-context.ts";

/** Changes a record's state and writes it down; what could not be written down has not changed. */
export async function become<S extends string>(
  pod: PodContext,
  record: { state: S; since?: string },
  state: S,
): Promise<void> {
  const before = { ...record };
  record.state = state;
  if (Object.is(record, pod.document.machine)) record.since = pod.deps.now().toISOString();
  try {
    await pod.save();
  } catch (cause) {
    Object.assign(record, before); // so that the repeat does the rest
    throw cause;
  }
  pod.log.info({ state }, "state");
}

/** Takes back what a failed request has done; what fails of it is for the log. */
export async function undoAll(pod: PodContext, undo: Undo): Promise<void> {
  for (const failed of await undo.run()) {
    pod.log.error({ err: messageOf(failed.cause) }, `undo failed: ${failed.what}`);
  }
}

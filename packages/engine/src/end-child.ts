import { kindOf, pollUntil } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";

const SIGKILL = 9;
const END_MS = 10_000;

/** Ends a child of a shim, waits for its end and forgets it. One that is not there is a success. */
export async function endChild(shim: ShimLink, key: string): Promise<void> {
  await signalChild(shim, key);
  await pollUntil(`${key} ends`, { ms: END_MS, everyMs: 10 }, async () => {
    const { children } = await shim.describe();
    return children.some((each) => each.key === key && each.running) ? undefined : true;
  });
  await shim.reap(key);
}

/** SIGKILL to a child of a shim, if there is one. */
export async function signalChild(shim: ShimLink, key: string): Promise<void> {
  try {
    await shim.signal(key, SIGKILL);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
  }
}

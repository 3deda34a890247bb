import { pollUntil } from "@trine/base";
import { openUnlessDead } from "../open-shim.ts";
import { removeDeadPod } from "../remove-dead-pod.ts";

const END_MS = 20_000;

/** Ends the shim that holds a template, if there is one, and removes what it leaves. Clones run on. */
export async function endTemplate(dir: string): Promise<void> {
  const shim = await openUnlessDead(dir);
  if (shim !== undefined) {
    await shim.end().finally(() => {
      shim.close();
    });
    await pollUntil(`the shim of ${dir} ends`, { ms: END_MS }, () => isGone(dir));
  }
  await removeDeadPod(dir);
}

async function isGone(dir: string): Promise<true | undefined> {
  try {
    const shim = await openUnlessDead(dir);
    shim?.close();
    return shim === undefined ? true : undefined;
  } catch {
    return undefined; // it listens no more and holds its lock still
  }
}

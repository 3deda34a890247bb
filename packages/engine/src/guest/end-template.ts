import { pollUntil } from "@trine/base";
import { isThere } from "../is-there.ts";
import { openUnlessDead } from "../open-shim.ts";
import { removeDeadPod } from "../remove-dead-pod.ts";

const END_MS = 20_000;

/**
 * Ends the shim without a pod that lives in `dir`, and removes what it leaves. Clones of a template run on. False: there
 * was nothing in that place, or by now it is a pod's, in another.
 */
export async function endTemplate(dir: string): Promise<boolean> {
  const shim = await openUnlessDead(dir);
  if (shim === undefined && !(await isThere(dir))) return false;
  if (shim !== undefined) {
    try {
      await shim.end();
    } catch (cause) {
      if (!(await isThere(dir))) return false; // claimed in this moment: it refuses to be ended
      throw cause;
    } finally {
      shim.close();
    }
    await pollUntil(`the shim of ${dir} ends`, { ms: END_MS }, () => isGone(dir));
  }
  await removeDeadPod(dir);
  return true;
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

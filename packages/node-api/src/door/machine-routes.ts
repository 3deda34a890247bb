import { once } from "node:events";
import { connect } from "node:net";
import { TrineError, kindOf, messageOf, withDeadline } from "@trine/base";
import { takePicture, toPng } from "@trine/machine-talk";
import type { FoundMachine } from "./door-machines.ts";
import { parseDurationMs } from "./door-path.ts";

const PICTURE_MS = 20_000;
const UNFREEZE_MS = 5 * 60 * 1_000;

type Act = (found: FoundMachine, body: unknown, signal: AbortSignal) => Promise<void>;
type Ask = (found: FoundMachine) => Promise<unknown>;

/** What is done to a machine; each may be repeated. */
export const ACTS: Readonly<Record<string, Act>> = {
  pause: ({ pod, control }, _, signal) => pod.pause(taskOf(control), signal),
  unpause: ({ pod, control }, _, signal) => pod.resume(taskOf(control), signal),
  freeze: async (found, body) => {
    requireRunning(found, "freeze");
    await byGuest(found.control.freeze(unfreezeMs(body)));
  },
  unfreeze: async (found) => {
    requireRunning(found, "unfreeze");
    await byGuest(found.control.thaw());
  },
  softreboot: async (found) => {
    requireRunning(found, "softreboot");
    await found.control.softReboot();
  },
  reset: ({ control }, _, signal) => control.reset(signal),
  resize: async (found, body, signal) => {
    requireRunning(found, "resize");
    await found.pod.giveSize(taskOf(found.control), sizeIn(body), signal);
  },
};

/** What else than these callers is refused: a machine's size is decided where its pod's requests are. */
export const ASKED_BY: Readonly<Record<string, string>> = { resize: "trine-control" };

/** What its guest says. */
export const QUESTIONS: Readonly<Record<string, Ask>> = {
  guestosinfo: ({ control }) => byGuest(control.osInfo()),
  userlist: ({ control }) => byGuest(control.users()),
  filesystemlist: ({ control }) => byGuest(control.fileSystems()),
};

export async function screenshotOf({ control }: FoundMachine): Promise<Buffer> {
  const socket = connect(control.displaySocket);
  try {
    await withDeadline("the display", PICTURE_MS, once(socket, "connect"));
    return toPng(await withDeadline("the picture", PICTURE_MS, takePicture(socket)));
  } catch (cause) {
    throw TrineError.during("screenshot", cause);
  } finally {
    socket.destroy();
  }
}

/** A guest that does not answer is the guest's state, not the node's. */
async function byGuest<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    const isGuests = ["unavailable", "timeout", "unimplemented", "malformed"].includes(
      kindOf(cause),
    );
    throw isGuests ? new TrineError("wrongState", messageOf(cause), { cause }) : cause;
  }
}

/** A paused guest cannot answer: it would be waited for in vain. */
function requireRunning({ report }: FoundMachine, what: string): void {
  if (report.phase === "running") return;
  throw new TrineError("wrongState", `${what}: machine of pod ${report.pod} is ${report.phase}`);
}

function taskOf(control: FoundMachine["control"]): string {
  if (control.taskId !== undefined) return control.taskId;
  throw new TrineError("wrongState", "the machine is gone");
}

function sizeIn(body: unknown): { readonly cpus: number; readonly memoryBytes: number } {
  const { cpus, memoryBytes } = (body ?? {}) as Readonly<Record<string, unknown>>;
  return { cpus: wholeIn(cpus, "cpus"), memoryBytes: wholeIn(memoryBytes, "memoryBytes") };
}

function wholeIn(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  throw new TrineError("invalid", `${name}: a whole number from 1 on is wanted`);
}

function unfreezeMs(body: unknown): number {
  const said = (body as { unfreezeTimeout?: unknown } | null | undefined)?.unfreezeTimeout;
  if (said === undefined || said === "") return UNFREEZE_MS;
  const ms = typeof said === "string" ? parseDurationMs(said) : undefined;
  if (ms !== undefined && ms > 0) return ms;
  throw new TrineError("invalid", "unfreezeTimeout: a duration such as 30s is wanted");
}

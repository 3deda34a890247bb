import { once } from "node:events";
import type { Socket } from "node:net";
import { TrineError, kindOf, messageOf, withDeadline } from "@trine/base";
import { SILENT_MS, eachComer, heard, leave, say } from "./comers.ts";
import type { Says } from "./says.ts";

/** A taker's disk may stall so long. */
const TAKE_MS = 300_000;
/** The stream and its other end are to blame: another one may come. */
const CUT_OFF = ["canceled", "timeout", "unavailable"];

interface Side {
  readonly says: Says;
  readonly silentMs?: number;
  readonly signal: AbortSignal;
}

/** Gives the volume, from its beginning, to each who comes, until `signal` aborts; rejects where it cannot be read. */
export function giveToAll(
  side: Side,
  give: (signal: AbortSignal) => AsyncIterable<Buffer>,
): Promise<void> {
  return eachComer(side, async (socket) => {
    const stop = new AbortController();
    const signal = AbortSignal.any([side.signal, stop.signal]);
    const onEnd = (): void => {
      stop.abort(new TrineError("canceled", "whoever took it has left"));
      socket.destroy();
    };
    side.signal.addEventListener("abort", onEnd, { once: true });
    socket.on("error", onEnd).on("close", onEnd);
    socket.resume(); // a taker has nothing to say; that it ends is heard
    try {
      for await (const part of give(signal)) {
        if (!socket.write(part)) await drained(socket, signal);
      }
      leave(socket);
      return "";
    } catch (cause) {
      socket.destroy();
      if (side.signal.aborted) throw side.signal.reason;
      if (stop.signal.aborted || CUT_OFF.includes(kindOf(cause))) return messageOf(cause);
      throw cause;
    } finally {
      side.signal.removeEventListener("abort", onEnd);
    }
  });
}

async function drained(socket: Socket, signal: AbortSignal): Promise<void> {
  await withDeadline("nothing is taken", TAKE_MS, once(socket, "drain", { signal }));
}

/** Takes a volume from one who comes, and from the next where it was cut off; rejects where it is no disk for the volume. */
export function takeFromOne(
  side: Side,
  take: (chunks: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  return eachComer(side, async (socket) => {
    const stop = (): void => void socket.destroy();
    side.signal.addEventListener("abort", stop, { once: true });
    socket.on("error", stop);
    try {
      await take(heard(socket, side.silentMs ?? SILENT_MS));
      say(socket, { done: true });
      leave(socket);
      return undefined;
    } catch (cause) {
      if (side.signal.aborted) throw side.signal.reason;
      say(socket, { kind: kindOf(cause), message: messageOf(cause).slice(0, 1_000) });
      leave(socket);
      if (!CUT_OFF.includes(kindOf(cause))) throw cause;
      return messageOf(cause);
    } finally {
      side.signal.removeEventListener("abort", stop);
    }
  });
}

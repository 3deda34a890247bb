import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { dirname, join } from "node:path";
import { TrineError, kindOf, messageOf, sleep } from "@trine/base";
import { Pen } from "@trine/machine-talk";
import type { PenState } from "@trine/machine-talk";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";
import { Keyboard } from "./keyboard.ts";
import { Recording } from "./recording.ts";

const LOOK_MS = 500;

export interface ConsoleFlags {
  readonly readOnly: boolean;
  readonly takeOver: boolean;
  /** Leave with the machine's end instead of waiting for the next. */
  readonly once: boolean;
  /** A new file that gets what is shown. */
  readonly record?: string;
}

interface Target {
  readonly pod: string;
  /** NAMESPACE/NAME */
  readonly name: string;
  readonly pid: number;
  readonly socketPath: string;
}

/**
 * `trine console POD`: joins the terminal and the machine's console. A terminal leaves by ^] and comes back
 * to a machine that was started anew; piped input leaves by its end, once all of it is with the machine.
 * Of several consoles the first writes; the others watch, and are told when the pen is theirs.
 */
export async function attachConsole(io: Io, name: string, flags: ConsoleFlags): Promise<void> {
  const first = await targetOf(io, name);
  const recording = flags.record === undefined ? undefined : await Recording.open(flags.record);
  const terminal = io.stdin.isTTY === true && !flags.readOnly;
  const keyboard = new Keyboard(io, { terminal, typing: !flags.readOnly });
  const say = (text: string): void => {
    if (io.stdin.isTTY === true) io.stderr.write(`\r\n${text}\r\n`);
  };
  try {
    keyboard.open();
    if (terminal) io.stderr.write(`Connected to ${first.pod}; ^] leaves.\r\n`);
    const stays = io.stdin.isTTY === true && !flags.once;
    let takeOver = flags.takeOver;
    for (let at: Target | undefined = first; at !== undefined && !keyboard.hasLeft();) {
      await session(io, at, keyboard, { ...flags, takeOver, recording }, say);
      // The pen was taken once: a new machine's goes to who comes first.
      takeOver = false;
      if (keyboard.hasLeft() || !stays) break;
      say(`The console of ${at.pod} closed; waiting for the machine to start. ^] leaves.`);
      at = await nextOf(io, at, keyboard);
      if (at !== undefined) say("Connected again.");
      else if (!keyboard.hasLeft()) say(`Pod ${first.pod} is gone.`);
    }
    if (terminal) io.stderr.write(`\r\n${keyboard.hasLeft() ? "Left" : "The console closed"}.\r\n`);
  } finally {
    keyboard.close();
    await recording?.close();
  }
}

/** One machine's console, to its end or ours. */
async function session(
  io: Io,
  target: Target,
  keyboard: Keyboard,
  flags: ConsoleFlags & { readonly recording: Recording | undefined },
  say: (text: string) => void,
): Promise<void> {
  const socket = await open(io, target.socketPath);
  let pen: Pen | undefined;
  try {
    const closed = untilClosed(socket);
    closed.catch(() => undefined); // awaited below
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => undefined); // awaited below
    socket.pipe(io.stdout, { end: false });
    const { recording } = flags;
    if (recording !== undefined) socket.pipe(recording.stream, { end: false });
    if (!flags.readOnly) {
      pen = await takePen(io, target, flags, (state) => {
        // Nobody is there to see that the rest is not sent.
        if (!state.writes && io.stdin.isTTY !== true && !keyboard.hasEnded()) {
          const what = `another took over the console of ${target.pod}`;
          lost.reject(new TrineError("conflict", `${what}: not all of the input was sent`));
        }
        keyboard.allow(state.writes, `process ${state.writer ?? 0} writes; --take-over takes it`);
        say(told(state));
      });
      keyboard.connect(socket);
    }
    const ends = [closed, keyboard.leaving, lost.promise];
    await Promise.race(recording === undefined ? ends : [...ends, recording.failed]);
  } finally {
    keyboard.disconnect();
    await pen?.close();
    socket.destroy();
  }
}

function told({ writes, writer }: PenState): string {
  return writes ? "You write." : `You watch: process ${writer ?? 0} writes.`;
}

/** Piped input is not thrown away: kind `conflict` while another writes. */
async function takePen(
  io: Io,
  target: Target,
  { takeOver }: ConsoleFlags,
  changed: (state: PenState) => void,
): Promise<Pen> {
  let alone = true;
  const pen = await Pen.join(
    join(dirname(target.socketPath), "pens"),
    takeOver ? "take" : "write",
    (state) => {
      // Who writes from the beginning needs not be told.
      if (!(alone && state.writes)) changed(state);
      alone = false;
    },
  );
  if (pen.writes || io.stdin.isTTY === true) return pen;
  await pen.close();
  const what = `the console of ${target.pod} is written to by another`;
  throw new TrineError("conflict", `${what}: --take-over takes it from there`);
}

async function targetOf(io: Io, wanted: string): Promise<Target> {
  const { machine, name: pod, podNamespace } = await new NodeClient(io).pod(wanted);
  if (machine?.pid === undefined) {
    const why = machine === undefined ? "has no machine" : "has a machine that does not run";
    throw new TrineError("wrongState", `pod ${pod} ${why}`);
  }
  const { pid, consoleSocket } = machine;
  return { pod, name: `${podNamespace}/${pod}`, pid, socketPath: consoleSocket };
}

/** The pod's next machine, also after the node daemon was away; undefined when the pod is gone, or the user. */
async function nextOf(io: Io, last: Target, keyboard: Keyboard): Promise<Target | undefined> {
  let missing = 0;
  while (!keyboard.hasLeft()) {
    try {
      const next = await targetOf(io, last.name);
      if (next.pid !== last.pid) return next;
      missing = 0;
    } catch (cause) {
      // A restart takes the sandbox away for a moment.
      if (kindOf(cause) === "notFound" && (missing += 1) > GONE_LOOKS) return undefined;
      if (!["notFound", "wrongState", "unavailable", "timeout"].includes(kindOf(cause)))
        throw cause;
    }
    await Promise.race([sleep(LOOK_MS), keyboard.leaving]);
  }
  return undefined;
}

const GONE_LOOKS = 20;

async function open(io: Io, path: string): Promise<Socket> {
  const socket = connect({ path, allowHalfOpen: true });
  try {
    await once(socket, "connect", { signal: io.signal });
    return socket;
  } catch (cause) {
    socket.destroy();
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted", { cause });
    throw new TrineError("unavailable", `console ${path}: ${messageOf(cause)}`, { cause });
  }
}

function untilClosed(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on("end", resolve);
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      // The other end went while we were writing: that is an end like any other.
      if (cause.code === "EPIPE" || cause.code === "ECONNRESET") resolve();
      else reject(new TrineError("unavailable", `console: ${cause.message}`, { cause }));
    });
  });
}

import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { TrineError, messageOf } from "@trine/base";
import type { Io } from "../io.ts";
import { NodeClient } from "../node/node-client.ts";

const LEAVE = 0x1d; // ^]

/**
 * `trine console POD`: joins the terminal and the machine's console. A terminal leaves by ^], piped input
 * by its end, once all of it is with the machine; both stay in it no longer than the machine runs.
 */
export async function attachConsole(
  io: Io,
  name: string,
  flags: { readOnly: boolean },
): Promise<void> {
  const { machine, name: pod } = await new NodeClient(io).pod(name);
  if (machine?.pid === undefined) {
    const why = machine === undefined ? "has no machine" : "has a machine that does not run";
    throw new TrineError("wrongState", `pod ${pod} ${why}`);
  }
  const socket = await open(io, machine.consoleSocket);
  const typing = !flags.readOnly;
  const terminal = typing && io.stdin.isTTY === true;
  try {
    if (terminal) {
      io.stdin.setRawMode?.(true);
      io.stderr.write(`Connected to ${pod}; ^] leaves.\r\n`);
    }
    const end = await join(io, socket, { typing, terminal });
    if (terminal) io.stderr.write(`\r\n${end === "left" ? "Left" : "The console closed"}.\r\n`);
  } finally {
    if (terminal) io.stdin.setRawMode?.(false);
    io.stdin.pause();
    socket.destroy();
  }
}

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

function join(
  io: Io,
  socket: Socket,
  how: { typing: boolean; terminal: boolean },
): Promise<"left" | "closed"> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      resolve("left");
    };
    socket.on("end", () => {
      resolve("closed");
    });
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      // The other end went while we were writing: that is an end like any other.
      if (cause.code === "EPIPE" || cause.code === "ECONNRESET") resolve("closed");
      else reject(new TrineError("unavailable", `console: ${cause.message}`, { cause }));
    });
    socket.pipe(io.stdout, { end: false });
    io.signal.addEventListener("abort", leave);
    if (how.typing) type(io, socket, how.terminal, leave);
  });
}

/** Input → console; `leave` is called at ^] of a terminal. */
function type(io: Io, socket: Socket, terminal: boolean, leave: () => void): void {
  socket.on("drain", () => io.stdin.resume());
  io.stdin.on("data", (chunk: Buffer) => {
    const end = terminal ? chunk.indexOf(LEAVE) : -1;
    if (!socket.write(end < 0 ? chunk : chunk.subarray(0, end))) io.stdin.pause();
    if (end >= 0) leave();
  });
  // The shim closes its end when it has taken everything: that is the end of `join`.
  io.stdin.on("end", () => socket.end());
  io.stdin.on("error", leave); // the terminal is gone
}

import { once } from "node:events";
import { finished } from "node:stream/promises";
import type { RemoteCommand } from "@trine/containerd-client";
import { abortable } from "@trine/base";
import type { Io } from "../io.ts";

/**
 * Joins the user's streams and a command's until the command ends or ^C; answers its exit code. With a
 * tty the user's terminal is raw meanwhile, and its size follows. `keepInput`: the end of the user's input
 * is not told, for containerd ends an attach by it, output and all.
 */
export async function joinTerminal(
  io: Io,
  command: RemoteCommand,
  how: { readonly tty: boolean; readonly keepInput?: boolean },
): Promise<number> {
  const raw = how.tty && command.stdin !== undefined && io.stdin.isTTY === true;
  const resize = (): void => {
    const { columns, rows } = io.stdout;
    if (columns !== undefined && rows !== undefined)
      command.resize({ width: columns, height: rows });
  };
  try {
    if (raw) io.stdin.setRawMode?.(true);
    if (how.tty) {
      resize();
      io.stdout.on("resize", resize);
    }
    if (command.stdin !== undefined) io.stdin.pipe(command.stdin, { end: how.keepInput !== true });
    const outputs = [copy(command.stdout, io.stdout), copy(command.stderr, io.stderr)];
    const ended = (async () => {
      // What was printed is shown also when there is no status.
      const [exit] = await Promise.allSettled([command.exit, ...outputs]);
      if (exit.status === "rejected") throw exit.reason;
      return exit.value;
    })();
    return await abortable("interrupted", io.signal, ended);
  } finally {
    if (raw) io.stdin.setRawMode?.(false);
    io.stdout.off("resize", resize);
    if (command.stdin !== undefined) {
      io.stdin.unpipe(command.stdin);
      io.stdin.pause();
    }
    command.close();
  }
}

async function copy(from: RemoteCommand["stdout"], to: Io["stdout"]): Promise<void> {
  if (from === undefined) return;
  from.on("data", (chunk: Buffer) => {
    if (to.write(chunk)) return;
    from.pause();
    void once(to, "drain").then(() => from.resume());
  });
  // A lost connection is told by the command's exit.
  await finished(from, { writable: false }).catch(() => undefined);
}

import { once } from "node:events";
import { connect } from "node:net";
import { Command } from "commander";
import { TrineError, messageOf } from "@trine/base";
import type { Io } from "./io.ts";
import { NodeClient } from "./node-client.ts";

const LEAVE = 0x1d; // ^]

export function consoleCommand(io: Io): Command {
  return new Command("console")
    .description("attach to a machine's console; ^] leaves")
    .argument("<pod>", "NAME, NAMESPACE/NAME or the start of an id")
    .addHelpText(
      "after",
      "\nExamples:\n  trine console web\n  echo reboot | trine console default/web",
    )
    .action(async (name: string) => {
      const pod = await new NodeClient(io.stateDir).pod(name);
      if (pod.machine === undefined) {
        throw new TrineError("wrongState", `pod ${pod.name} has no machine`);
      }
      await attach(io, pod.machine.consoleSocket);
    });
}

/** Joins the terminal and the console's socket until ^], the end of the machine, or an abort. */
async function attach(io: Io, path: string): Promise<void> {
  const socket = connect(path);
  try {
    await once(socket, "connect", { signal: io.signal });
  } catch (cause) {
    throw new TrineError(
      "unavailable",
      `console ${path}: ${messageOf(cause)}; is the machine running?`,
    );
  }
  const tty = io.stdin.isTTY;
  if (tty) {
    io.stdin.setRawMode(true);
    io.stderr.write("Connected; ^] leaves.\r\n");
  }
  try {
    await join(io, socket, tty);
  } finally {
    if (tty) io.stdin.setRawMode(false);
    io.stdin.pause();
    socket.destroy();
  }
}

function join(io: Io, socket: ReturnType<typeof connect>, tty: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.pipe(io.stdout, { end: false });
    socket.on("close", () => {
      resolve();
    });
    socket.on("error", reject);
    io.signal.addEventListener("abort", () => {
      resolve();
    });
    io.stdin.on("data", (chunk: Buffer) => {
      const leave = tty ? chunk.indexOf(LEAVE) : -1;
      socket.write(leave < 0 ? chunk : chunk.subarray(0, leave));
      if (leave >= 0) resolve();
    });
  });
}

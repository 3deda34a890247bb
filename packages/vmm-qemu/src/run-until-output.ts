import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { once } from "node:events";
import { messageOf, withDeadline } from "@trine/base";

const MAX_HEARD = 64 * 1024;
const MAX_LOG = 4096;
const KILLED_MS = 5000;

export interface OutputRun {
  readonly argv: readonly string[];
  /** From number 3 on; "pipe" = a socket pair whose output is listened to. */
  readonly descriptors: readonly (number | "pipe")[];
  readonly wanted: string;
  readonly ms: number;
  readonly signal: AbortSignal;
}

/**
 * Runs a program until `wanted` comes over one of its pipes, it ends, or `ms` have passed; then kills it
 * and waits for its end. Rejects only when the signal aborts.
 */
export async function runUntilOutput(
  run: OutputRun,
): Promise<{ heard: true } | { heard: false; why: string }> {
  run.signal.throwIfAborted();
  const [program = "", ...args] = run.argv;
  const stdio = ["ignore", "pipe", "pipe", ...run.descriptors] as const;
  const child = spawn(program, args, { env: {}, stdio: [...stdio] });
  let log = "";
  child.stderr?.on("data", (bytes: Buffer) => {
    log = (log + bytes.toString()).slice(-MAX_LOG);
  });
  const closed = once(child, "close").catch(() => undefined);
  try {
    const why = await withDeadline("its console", run.ms, firstOf(child, run));
    return why === undefined ? { heard: true } : { heard: false, why: lastLine(log) ?? why };
  } catch (cause) {
    run.signal.throwIfAborted();
    return { heard: false, why: messageOf(cause) };
  } finally {
    child.kill("SIGKILL");
    // A process stuck in the kernel cannot be waited for; its answer can be given all the same.
    await withDeadline("end of the probe", KILLED_MS, closed).catch(() => undefined);
  }
}

/** Undefined when the wanted text came, else how the program ended. */
function firstOf(child: ChildProcess, run: OutputRun): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    child.on("error", (cause) => {
      resolve(cause.message);
    });
    child.on("close", (code, signal) => {
      resolve(`it ended with ${signal ?? `exit code ${code ?? ""}`}`);
    });
    run.signal.addEventListener("abort", () => {
      reject(run.signal.reason as Error);
    });
    for (const [index, descriptor] of run.descriptors.entries()) {
      if (descriptor !== "pipe") continue;
      let heard = "";
      (child.stdio[index + 3] as Socket).on("error", reject).on("data", (bytes: Buffer) => {
        heard = (heard + bytes.toString("latin1")).slice(-MAX_HEARD);
        if (heard.includes(run.wanted)) resolve(undefined);
      });
    }
  });
}

function lastLine(log: string): string | undefined {
  return log
    .split("\n")
    .filter((line) => line.trim() !== "")
    .at(-1);
}

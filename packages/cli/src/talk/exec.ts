import { ContainerState } from "@trine/proto/cri/api";
import { TrineError, kindOf, messageOf, pollUntil } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { joinTerminal } from "./join-terminal.ts";
import { PodRecords } from "../pods/pod-records.ts";
import type { PodView } from "../pods/pod-view.ts";
import { findPod, pickRunning } from "../pods/select-pods.ts";

/** As shells and docker: the program is not there, cannot be run, or the runtime failed. */
const NOT_FOUND = 127;
const CANNOT_RUN = 126;
const RUNTIME_FAILED = 125;
const END_MS = 5_000;

export interface ExecFlags {
  readonly container?: string;
  readonly stdin: boolean;
  readonly tty: boolean;
}

/** `trine exec POD -- COMMAND`: answers the command's exit code. */
export async function execInPod(
  io: Io,
  name: string,
  cmd: readonly string[],
  flags: ExecFlags,
): Promise<number> {
  if (cmd.length === 0) {
    throw new TrineError("invalid", "a command is wanted after --: `trine exec POD -- ls -l`");
  }
  requireTerminal(io, flags);
  return withCri(io, async (cri) => {
    const view = await findPod(cri, name, io.signal);
    const container = pickRunning(view, flags.container);
    const { stdin, tty } = flags;
    const request = { containerId: container.id, cmd: [...cmd], stdin, tty };
    try {
      const command = await cri.exec({ ...request, stdout: true, stderr: !tty });
      return await joinTerminal(io, command, flags);
    } catch (cause) {
      if (io.signal.aborted) throw cause;
      io.stderr.write(
        `trine: ${messageOf(cause)
          .trim()
          .replaceAll(/\s*\n\s*/g, "; ")}\n`,
      );
      return runFailure(cause);
    }
  });
}

/** `trine attach POD`: what the container prints from now on, and with -i its input. */
export async function attachToPod(io: Io, name: string, flags: ExecFlags): Promise<number> {
  requireTerminal(io, flags);
  return withCri(io, async (cri) => {
    const view = await findPod(cri, name, io.signal);
    const { id } = pickRunning(view, flags.container);
    const { stdin, tty } = flags;
    const command = await cri.attach({
      ...{ containerId: id, stdin, tty, stdout: true, stderr: !tty },
    });
    const keepInput = !(await takesEndOfInput(io, view));
    await joinTerminal(io, command, { tty, keepInput });
    return (await exitCodeOf(cri, id, io.signal)) ?? 0;
  });
}

/** Of a container whose streams have ended; undefined when it goes on all the same. */
export async function exitCodeOf(
  cri: CriClient,
  containerId: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    // Its streams end a little before containerd knows that it has.
    return await pollUntil("it has ended", { ms: END_MS, signal }, async () => {
      const { status } = await cri.runtime.containerStatus({ containerId });
      return status?.state === ContainerState.CONTAINER_EXITED ? status.exitCode : undefined;
    });
  } catch (cause) {
    if (kindOf(cause) === "timeout") return undefined;
    throw cause;
  }
}

/** Of pods that others made nothing is known, and most containers' input has no end. */
async function takesEndOfInput(io: Io, { uid }: PodView): Promise<boolean> {
  const record = await new PodRecords(io).find(uid);
  return record?.pod.spec.containers.some(({ stdinOnce }) => stdinOnce) === true;
}

export function requireTerminal(io: Io, { tty, stdin }: { tty: boolean; stdin: boolean }): void {
  if (!tty || !stdin || io.stdin.isTTY === true) return;
  throw new TrineError("invalid", "-t with -i needs a terminal as input; leave -t out for a pipe");
}

/** Exit code for a program that never ran. */
export function runFailure(cause: unknown): number {
  const words = messageOf(cause);
  if (/no such file or directory|not found in \$?PATH|executable file not found/i.test(words)) {
    return NOT_FOUND;
  }
  return /permission denied|exec format error/i.test(words) ? CANNOT_RUN : RUNTIME_FAILED;
}

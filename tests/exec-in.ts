// A command in a container: its input, outputs and status.
import { buffer } from "node:stream/consumers";
import { messageOf, withDeadline } from "@trine/base";
import type { RemoteCommand, RemoteStreams } from "@trine/containerd-client";
import type { RunningPod, TrineNode } from "@trine/testkit";

export const EXEC_MS = 60_000;

export interface Exec extends RemoteStreams {
  readonly cmd: string[];
  /** Written to its stdin, which is then closed. */
  readonly input?: Uint8Array;
}

interface Ran {
  /** Exit status, or why there is none. */
  readonly status: number | string;
  readonly out: Buffer;
  readonly err: string;
}

/** Runs a command in a container to its end. */
export async function execIn(
  node: TrineNode,
  { containerId }: RunningPod,
  { input, ...of }: Exec,
): Promise<Ran> {
  const want = { stdout: true, stderr: of.tty !== true, stdin: input !== undefined, ...of };
  const command = await node.containerd.cri.exec({ containerId, ...want });
  const read = (stream: RemoteCommand["stdout"]): Promise<Buffer> =>
    stream === undefined ? Promise.resolve(Buffer.alloc(0)) : buffer(stream);
  const output = Promise.all([read(command.stdout), read(command.stderr)]);
  output.catch(() => undefined); // a command that could not be run has none; its status says why
  if (input !== undefined) command.stdin?.end(input);
  const status = await withDeadline(`exec ${of.cmd.join(" ")}`, EXEC_MS, command.exit).catch(
    (cause: unknown) => messageOf(cause),
  );
  if (typeof status === "string") return { status, out: Buffer.alloc(0), err: "" };
  const [out, err] = await withDeadline("its output ends", EXEC_MS, output);
  command.close();
  return { status, out, err: err.toString() };
}

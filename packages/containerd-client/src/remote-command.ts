import { type Readable, type Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError } from "@trine/base";
import { dialStreaming } from "./streaming-dial.ts";
import { type SpdyConnection } from "./spdy-connection.ts";

export interface RemoteStreams {
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
  tty?: boolean;
}

/** A running exec or attach. */
export interface RemoteCommand {
  /** Present as asked for; `end()` is the end of input. */
  readonly stdin?: Writable;
  readonly stdout?: Readable;
  readonly stderr?: Readable;
  /** Tells the terminal's size; without a tty kind `wrongState`. */
  resize(size: { width: number; height: number }): void;
  /** Exit status; 0 for an attach that ended. Rejects when the command could not be run or is lost. */
  readonly exit: Promise<number>;
  /** Lets go of the connection; the command is not killed by it. */
  close(): void;
}

/** Longest answer on the error stream that is read; it is one Status object. */
const MAX_STATUS_BYTES = 1024 * 1024;

/** Opens the streams of an Exec or Attach URL (protocol v4.channel.k8s.io). */
export async function openRemoteCommand(
  url: string,
  want: RemoteStreams,
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<RemoteCommand> {
  const connection = await dialStreaming(url, "v4.channel.k8s.io", options);
  const open = (type: string): ReturnType<SpdyConnection["open"]> =>
    connection.open({ streamtype: type });
  const status = open("error");
  const stdin = want.stdin === true ? open("stdin") : undefined;
  const stdout = want.stdout === true ? open("stdout") : undefined;
  const stderr = want.stderr === true && want.tty !== true ? open("stderr") : undefined;
  const resizes = want.tty === true ? open("resize") : undefined;
  // The other streams fail together with the status stream, which reports it.
  for (const stream of [stdin, stdout, stderr, resizes]) stream?.on("error", () => undefined);
  const exit = text(limited(status)).then(exitStatusOf);
  // Who does not ask for the exit status is not to be stopped by a lost connection.
  exit.catch(() => undefined);
  return {
    ...(stdin && { stdin }),
    ...(stdout && { stdout }),
    ...(stderr && { stderr }),
    resize({ width, height }) {
      if (!resizes) throw new TrineError("wrongState", "resize: the command has no terminal");
      resizes.write(JSON.stringify({ Width: width, Height: height }));
    },
    exit,
    close: () => {
      connection.close();
    },
  };
}

async function* limited(stream: Readable): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_STATUS_BYTES) throw new TrineError("malformed", "status of a command: too long");
    yield chunk;
  }
}

/** metav1.Status on the error stream: Success, or Failure with the exit code as a cause. */
function exitStatusOf(document: string): number {
  if (document === "") return 0;
  const status = parseStatus(document);
  if (status.status === "Success") return 0;
  if (status.reason === "NonZeroExitCode") {
    const cause = status.details?.causes?.find((entry) => entry.reason === "ExitCode");
    const code = Number.parseInt(cause?.message ?? "", 10);
    if (Number.isInteger(code)) return code;
  }
  throw new TrineError("internal", `command not run: ${status.message ?? document.slice(0, 1000)}`);
}

interface CommandStatus {
  status?: string;
  reason?: string;
  message?: string;
  details?: { causes?: { reason?: string; message?: string }[] };
}

function parseStatus(document: string): CommandStatus {
  try {
    return JSON.parse(document) as CommandStatus;
  } catch (cause) {
    const words = document.slice(0, 1000);
    throw new TrineError("malformed", `status of a command is not JSON: ${words}`, { cause });
  }
}

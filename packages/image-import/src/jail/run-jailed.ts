import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rmdir } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import { endError } from "./end-error.ts";
import { JAIL_SCRIPT } from "./jail-script.ts";

/** nobody: owns no file that matters, and in its own process namespace sees no one. */
export const JAIL_UID = 65_534;
const MIB = 1024 * 1024;
const MAX_WORDS = 8192;

/** A file of the host as `/work/NAME` of the jail. */
interface JailedFile {
  readonly name: string;
  /** Absolute, no symbolic link in it. */
  readonly path: string;
  /** Which file it has to be: `DEVICE:INODE`. */
  readonly identity: string;
  readonly writable: boolean;
  /** A block device: whoever has the node may open it. */
  readonly isDevice: boolean;
}

/** A file that is open, as `/work/NAME`. */
export async function jailedFile(
  name: string,
  { path, handle }: { readonly path: string; readonly handle: FileHandle },
  writable: boolean,
): Promise<JailedFile> {
  const stats = await handle.stat({ bigint: true });
  const identity = `${stats.dev}:${stats.ino}`;
  return { name, path, identity, writable, isDevice: stats.isBlockDevice() };
}

/** A file system that is mounted as `/work/NAME` for as long as the program runs, and seen by it alone. */
export interface JailedMount {
  readonly name: string;
  readonly type: string;
  readonly options: readonly string[];
  /** Directory at which relative paths in the options begin. */
  readonly from: string;
  readonly source: string;
}

export interface JailedProgram {
  /** In /usr. */
  readonly program: string;
  readonly args: readonly string[];
  readonly files?: readonly JailedFile[];
  readonly mounts?: readonly JailedMount[];
  /** Path of trine-rootfs; given, the program may read files of any owner, behind that one's filter. */
  readonly readsAllBehind?: string;
  /** Its standard input: a descriptor, or what is written into a pipe for it. */
  readonly stdin?: number | Readable;
  readonly memoryBytes: number;
  readonly cpuSeconds: number;
  /** Largest file it may write. */
  readonly fileBytes?: number;
  /** What has set that, for people. */
  readonly limitSetBy?: string;
  /** An empty directory is made in it for as long as the program runs. */
  readonly workDir: string;
}

/**
 * Runs a program on hostile input: its own mounts (nothing but /usr and its files), network, processes and
 * IPC; as nobody, without new privileges, and without capabilities but for the one of `readsAllBehind`; with limits;
 * ended when this process ends. `use` reads its output. Kind `invalid` with the program's last words when it does not end with 0, `unavailable`
 * when there is no jail to run it in, `exhausted` when it needs more memory or time than it has.
 */
export async function runJailed<T>(
  jailed: JailedProgram,
  use: (output: Readable) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted();
  const root = await mkdtemp(join(jailed.workDir, "jail-"));
  const { stdin } = jailed;
  try {
    const child = spawn("setpriv", argvOf(jailed, root), {
      stdio: [stdin instanceof Readable ? "pipe" : (stdin ?? "ignore"), "pipe", "pipe"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    });
    if (stdin instanceof Readable) feed(stdin, child);
    return await attend(child as ChildProcess & Attended, jailed, use, signal);
  } catch (cause) {
    // It says more than the end of the program that waited for it.
    throw stdin instanceof Readable ? (stdin.errored ?? cause) : cause;
  } finally {
    await rmdir(root);
  }
}

/** A program that ends before it has read all says why itself; input that fails ends it. */
function feed(from: Readable, child: ChildProcess): void {
  if (child.stdin === null) return;
  child.stdin.on("error", () => from.destroy());
  from.on("error", () => child.kill("SIGKILL")).pipe(child.stdin);
  child.once("close", () => from.destroy());
}

interface Attended {
  readonly stdout: Readable;
  readonly stderr: Readable;
}

async function attend<T>(
  child: ChildProcess & Attended,
  { program, limitSetBy }: JailedProgram,
  use: (output: Readable) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    words = (words + chunk).slice(-MAX_WORDS);
  });
  const stop = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, name) => {
      resolve(code ?? name ?? "");
    });
  });
  const used = use(child.stdout).catch((cause: unknown) => {
    stop();
    throw cause;
  });
  const [result, end] = await Promise.allSettled([used, ended]);
  signal.removeEventListener("abort", stop);
  if (signal.aborted) throw signal.reason;
  if (end.status === "rejected") throw startError(program, end.reason);
  if (result.status === "rejected") throw result.reason;
  if (end.value !== 0) throw endError(program, end.value, words, limitSetBy);
  return result.value;
}

function argvOf(jailed: JailedProgram, root: string): string[] {
  const files = (jailed.files ?? []).flatMap(({ name, path, identity, writable, isDevice }) => [
    ...[name, path, identity],
    `${writable ? "rw" : "ro"}${isDevice ? "" : ",nodev"}`,
  ]);
  const mounts = (jailed.mounts ?? []).flatMap(({ name, type, options, source, from }) => [
    ...["+mount", name, type],
    ["ro", "nosuid", "nodev", "noexec", ...options].join(","),
    ...[source, from],
  ]);
  const limits = [
    `--as=${jailed.memoryBytes}`,
    `--cpu=${jailed.cpuSeconds}`,
    `--fsize=${jailed.fileBytes ?? MIB}`,
    "--nofile=64",
    "--core=0",
  ];
  const spaces = ["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child=KILL"];
  return [
    ...["--pdeathsig", "KILL", "--", "prlimit", ...limits, "--"],
    ...["unshare", ...spaces, "--", "/bin/sh", "-euc", JAIL_SCRIPT, "sh"],
    ...[root, String(JAIL_UID), jailed.readsAllBehind ?? "", ...files, ...mounts],
    ...["--", jailed.program, ...jailed.args],
  ];
}

function startError(program: string, cause: unknown): TrineError {
  const missing = errnoOf(cause) === "ENOENT" ? "setpriv of util-linux is not in PATH" : undefined;
  return new TrineError("unavailable", `${program}: ${missing ?? messageOf(cause)}`, { cause });
}

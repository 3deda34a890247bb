import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { lstat, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TrineError, messageOf } from "@trine/base";
import type { CriClient, RemoteCommand } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { findPod, pickRunning } from "../pods/select-pods.ts";

const MAX_WORDS = 2000;

/** `PATH` here, or `POD:PATH`. */
export interface Place {
  readonly pod?: string;
  readonly path: string;
}

/** A colon before the first slash, or after NAMESPACE/NAME, means a pod; `./a:b` is a file. */
export function parsePlace(text: string): Place {
  const match = /^([a-z0-9][-a-z0-9.]*(?:\/[a-z0-9][-a-z0-9.]*)?):(.*)$/.exec(text);
  return match === null ? { path: text } : { pod: match[1] ?? "", path: match[2] ?? "" };
}

/** `trine cp FROM TO`: files and directories by the `tar` of both sides; one side is a pod. */
export function copyFiles(
  io: Io,
  from: Place,
  to: Place,
  flags: { readonly container?: string },
): Promise<void> {
  const name = from.pod ?? to.pod;
  if (name === undefined || (from.pod !== undefined && to.pod !== undefined)) {
    throw new TrineError("invalid", "one of the two is POD:PATH, the other a path here");
  }
  if (from.path === "" || to.path === "") throw new TrineError("invalid", "a path is empty");
  return withCri(io, async (cri) => {
    const view = await findPod(cri, name, io.signal);
    const { id } = pickRunning(view, flags.container);
    if (from.pod === undefined) await send(io, cri, id, from.path, to.path);
    else await fetchFrom(io, cri, id, from.path, to.path);
  });
}

async function send(io: Io, cri: CriClient, id: string, from: string, to: string): Promise<void> {
  const path = resolve(from);
  await lstat(path).catch((cause: unknown) => {
    throw new TrineError("notFound", `${from}: ${messageOf(cause)}`, { cause });
  });
  const into = to.endsWith("/") || (await isDirectory(cri, id, to));
  const dir = into ? to : dirname(to);
  const target = into ? basename(path) : basename(to);
  const unpacking = await cri.exec({
    ...{ containerId: id, cmd: ["tar", "-xf", "-", "-C", dir] },
    ...{ stdin: true, stdout: true, stderr: true },
  });
  // After the exec: Node throws away what a child that has ended wrote and nobody read yet.
  const packing = tar(io, [
    ...["-cf", "-", "-C", dirname(path)],
    // Only the first part of each name, which has no slash, and no link's target.
    ...["--transform", `flags=r;s/^${literal(basename(path))}/${replacement(target)}/`],
    ...["--", basename(path)],
  ]);
  unpacking.stdout?.resume();
  const remote = remoteEnd(unpacking);
  try {
    const fed = pipeline(packing.stdout, unpacking.stdin as Writable, { signal: io.signal });
    const [fedResult, localResult, code] = await Promise.all([
      settled(fed),
      settled(packing.ended),
      remote,
    ]);
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted");
    if (code !== undefined) throw new TrineError("internal", `in the container: ${code}`);
    const cause = localResult ?? fedResult;
    if (cause !== undefined) throw cause;
  } finally {
    unpacking.close();
    packing.child.kill();
  }
}

async function fetchFrom(
  io: Io,
  cri: CriClient,
  id: string,
  from: string,
  to: string,
): Promise<void> {
  const name = basename(from);
  if (name === "" || name === "." || name === "..") {
    throw new TrineError("invalid", `${from} has no name: copy a file or a directory by its name`);
  }
  const target = (await isLocalDirectory(to)) ? join(to, name) : resolve(to);
  // The container's archive is a stranger's: it unpacks in a directory of its own, then one name moves.
  const scratch = await mkdtemp(join(dirname(target), ".trine-cp-")).catch((cause: unknown) => {
    throw new TrineError("notFound", `${dirname(target)}: ${messageOf(cause)}`, { cause });
  });
  const packing = await cri.exec({
    ...{ containerId: id, cmd: ["tar", "-cf", "-", "-C", dirname(from), "--", name] },
    ...{ stdout: true, stderr: true },
  });
  const unpacking = tar(io, ["-xf", "-", "--no-same-owner", "-C", scratch]);
  try {
    const remote = remoteEnd(packing);
    const fed = pipeline(packing.stdout as Readable, unpacking.stdin, { signal: io.signal });
    const [fedResult, localResult, words] = await Promise.all([
      settled(fed),
      settled(unpacking.ended),
      remote,
    ]);
    if (io.signal.aborted) throw new TrineError("canceled", "interrupted");
    if (words !== undefined) throw new TrineError("notFound", `in the container: ${words}`);
    const cause = localResult ?? fedResult;
    if (cause !== undefined) throw cause;
    const found = await readdir(scratch);
    if (found.length !== 1 || found[0] !== name) {
      throw new TrineError(
        "malformed",
        `the container's archive holds something else than ${name}`,
      );
    }
    await replace(join(scratch, name), target);
  } finally {
    packing.close();
    unpacking.child.kill();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Files replace files; a directory does not replace what is there. */
async function replace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    throw new TrineError("conflict", `${to}: ${messageOf(cause)}`, { cause });
  }
}

async function isDirectory(cri: CriClient, containerId: string, path: string): Promise<boolean> {
  const test = await cri.runtime.execSync({ containerId, cmd: ["test", "-d", path], timeout: 30n });
  return test.exitCode === 0;
}

async function isLocalDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/** Undefined = it went well; else what it said. */
async function remoteEnd(command: RemoteCommand): Promise<string | undefined> {
  let words = "";
  command.stderr?.on("data", (chunk: Buffer) => {
    words = (words + chunk.toString("utf8")).slice(-MAX_WORDS);
  });
  try {
    const code = await command.exit;
    return code === 0
      ? undefined
      : words.trim().replaceAll(/\s*\n\s*/g, "; ") || `tar exit ${code}`;
  } catch (cause) {
    return messageOf(cause);
  }
}

interface Tar {
  readonly child: ChildProcess;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly ended: Promise<void>;
}

function tar(io: Io, args: readonly string[]): Tar {
  const child = spawn("tar", args, { stdio: ["pipe", "pipe", "pipe"], signal: io.signal });
  let words = "";
  child.stderr.on("data", (chunk: Buffer) => {
    words = (words + chunk.toString("utf8")).slice(-MAX_WORDS);
  });
  const ended = new Promise<void>((resolved, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolved();
      else reject(new TrineError("internal", words.trim().replaceAll(/\s*\n\s*/g, "; ")));
    });
  });
  return { child, stdin: child.stdin, stdout: child.stdout, ended };
}

/** What it was rejected with; undefined when it went well. */
async function settled(work: Promise<unknown>): Promise<Error | undefined> {
  try {
    await work;
    return undefined;
  } catch (cause) {
    return cause instanceof Error ? cause : new TrineError("internal", messageOf(cause));
  }
}

/** For the left side of tar's s///: a basic regular expression. */
function literal(text: string): string {
  return text.replaceAll(/[\\.*[\]^$]/g, "\\$&");
}

function replacement(text: string): string {
  return text.replaceAll(/[\\&]/g, "\\$&");
}

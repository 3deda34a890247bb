import { execFile } from "node:child_process";
import { chmod, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { TrineError, pollUntil, sleep } from "@trine/base";
import type { Child } from "@trine/proto/shim";
import type { ShimLink } from "@trine/shim-client";
import { endChild } from "../end-child.ts";
import { findProgram } from "../find-program.ts";
import { libraryBinds } from "../library-binds.ts";
import { ROOT_OFFSET, SHA256, readRootHeader, rootHeader } from "./root-header.ts";

const run = promisify(execFile);
/** However large a disk is, it is written as long as it is; a writer that neither reads nor writes hangs. */
const STALL = { ms: 3_600_000, everyMs: 200 };
const OTHERS_READ = 0o004;
const LOG_CHARS = 1000;
const QEMU_IMG = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"];
/** In the writer's own root. */
const PROGRAM = "/qemu-img";
const [IMAGE, TARGET] = ["/image", "/target"];

/** The machine's disk in its container's image. */
export interface RootImage {
  readonly path: string;
  readonly format: "raw" | "qcow2";
  /** Of the disk as the guest sees it. */
  readonly bytes: number;
}

export interface RootTarget {
  /** A node of the device for this pod alone, which its machine's user may open. */
  readonly node: string;
  /** The machine's user, who writes it. */
  readonly uid: number;
  readonly bytes: number;
  /** In the container; for messages. */
  readonly path: string;
  /** What becomes of a root that was written from another image. */
  readonly onOther: "refuse" | "rewrite";
}

/**
 * Makes sure that a device holds the root of an image, whole: writes it at its first start, and again where writing was cut
 * short. A header before it says which image's it is. Repeatable; a writer that an earlier daemon started is waited for.
 * Kind `conflict` for a root of another image, and for a device that holds anything else.
 */
export async function ensureRoot(
  at: { readonly shim: ShimLink; readonly podDir: string },
  image: RootImage,
  target: RootTarget,
): Promise<void> {
  requireRoom(image, target);
  const [sha256, found] = await Promise.all([sumOf(image.path), readDevice(at.shim, target.node)]);
  const state = readRootHeader(found);
  if (state.is === "foreign") {
    const what = `device ${target.path} holds something that is no root of an image`;
    throw new TrineError("conflict", `${what}: wipe its first MiB, or leave out fromImage`);
  }
  const isSame = state.is !== "empty" && state.sha256 === sha256;
  if (state.is === "complete" && isSame) return;
  if (state.is === "complete" && target.onOther === "refuse") {
    const what = `device ${target.path} holds the root of another image (sha256 ${state.sha256.slice(0, 12)}…)`;
    const why = "fromImage: rewrite would replace it, and all that was written to it";
    throw new TrineError("conflict", `${what}; this one is ${sha256.slice(0, 12)}…: ${why}`);
  }
  await writeHeader(at.shim, target.node, rootHeader("writing", sha256));
  await writeImage(at, { ...image, sha256 }, target);
  await writeHeader(at.shim, target.node, rootHeader("complete", sha256));
}

function requireRoom({ bytes }: RootImage, target: RootTarget): void {
  if (target.bytes >= bytes + ROOT_OFFSET) return;
  const what = `device ${target.path} has ${target.bytes} bytes`;
  throw new TrineError(
    "invalid",
    `${what}; the image's disk and its header need ${bytes + ROOT_OFFSET}`,
  );
}

/** Without --zero a backslash in the name would come before the sum as well. */
async function sumOf(path: string): Promise<string> {
  const { stdout } = await run("sha256sum", ["--binary", "--zero", "--", path]);
  const sum = stdout.slice(0, 64);
  if (SHA256.test(sum)) return sum;
  throw new TrineError("internal", `sha256sum answered ${JSON.stringify(stdout.slice(0, 80))}`);
}

async function readDevice(shim: ShimLink, node: string): Promise<string> {
  const argv = ["dd", `if=${node}`, `bs=${ROOT_OFFSET}`, "count=1", "status=none"];
  const { exitCode, stdout, stderr } = await shim.run(argv);
  if (exitCode === 0) return stdout;
  throw new TrineError("unavailable", `read the root's header: ${stderr.trim()}`);
}

/** On the device, whatever was written before, before it answers. */
async function writeHeader(shim: ShimLink, node: string, header: string): Promise<void> {
  const argv = ["dd", `of=${node}`, "bs=4096", "iflag=fullblock", "conv=notrunc,fsync"];
  const { exitCode, stderr } = await shim.run([...argv, "status=none"], header);
  if (exitCode === 0) return;
  throw new TrineError("unavailable", `write the root's header: ${stderr.trim()}`);
}

/** A child of the shim as the machine's user, with its two files and no right over others: the image may be anybody's. */
async function writeImage(
  { shim, podDir }: { readonly shim: ShimLink; readonly podDir: string },
  image: RootImage & { readonly sha256: string },
  { node, path, uid }: RootTarget,
): Promise<void> {
  const program = await findProgram(QEMU_IMG);
  if (program === undefined) {
    throw new TrineError(
      "wrongState",
      `no ${QEMU_IMG.join(" or ")}: install the package qemu-utils`,
    );
  }
  await requireReadable(image.path);
  const key = `root-${image.sha256.slice(0, 16)}`;
  const logPath = join(podDir, "root-writer.log");
  await shim.spawn({
    key,
    argv: [PROGRAM, ...convertArguments(image)],
    env: [],
    uid,
    gid: uid,
    jail: {
      binds: [
        { source: program, target: PROGRAM },
        ...(await libraryBinds()),
        { source: "/dev/null", target: "/dev/null", writable: true, device: true },
        { source: image.path, target: IMAGE },
        { source: node, target: TARGET, writable: true, device: true },
      ],
      newNetwork: true,
      newPid: true,
    },
    logPath,
  });
  try {
    const end = await writerEnd(shim, { key, what: `${path} is written` }, STALL);
    if (end.exitCode === 0) return;
    const words = (await readFile(logPath, "utf8").catch(() => "")).trim().slice(-LOG_CHARS);
    throw new TrineError("unavailable", `write the image to device ${path}: ${words || "no word"}`);
  } finally {
    await endChild(shim, key);
    await rm(logPath, { force: true });
  }
}

/** The owner that an image names may be anybody of the node: where others may not read its file, the container gets one of its own. */
async function requireReadable(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & OTHERS_READ) === 0) await chmod(path, (mode | OTHERS_READ) & 0o777);
}

/** The end of a writer, which has as long as it goes on. Kind `timeout` after `stall.ms` without a byte read or written. */
export async function writerEnd(
  shim: Pick<ShimLink, "describe">,
  { key, what }: { readonly key: string; readonly what: string },
  stall: { readonly ms: number; readonly everyMs: number; readonly procDir?: string },
): Promise<Child> {
  let before = "";
  const look = async (): Promise<Child | "goes on" | undefined> => {
    const child = (await shim.describe()).children.find((each) => each.key === key);
    if (child === undefined) throw new TrineError("notFound", `${what}: nobody writes it`);
    if (!child.running) return child;
    const io = join(stall.procDir ?? "/proc", String(child.pid), "io");
    const now = await readFile(io, "utf8").catch(() => before); // it may end just now
    if (now === before) return undefined;
    before = now;
    return "goes on";
  };
  for (;;) {
    const seen = await pollUntil(what, stall, look);
    if (seen !== "goes on") return seen;
    await sleep(stall.everyMs);
  }
}

/** No backing file that the image may name is opened, and nothing is cached that a crash would lose. */
function convertArguments({ format }: RootImage): string[] {
  const source = `driver=${format},file.driver=file,file.filename=${IMAGE}`;
  const backing = format === "qcow2" ? ",backing=" : "";
  const target = `driver=raw,offset=${ROOT_OFFSET},file.driver=host_device,file.filename=${TARGET}`;
  const images = ["--image-opts", `${source}${backing}`, "--target-image-opts", target];
  return ["convert", "-n", "-t", "none", ...images];
}

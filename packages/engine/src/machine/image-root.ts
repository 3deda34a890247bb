import { execFile } from "node:child_process";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { TrineError, pollUntil } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import { endChild } from "../end-child.ts";
import { findProgram } from "../find-program.ts";
import { libraryBinds } from "../library-binds.ts";
import { ROOT_OFFSET, readRootHeader, rootHeader } from "./root-header.ts";

const run = promisify(execFile);
const WRITE_MS = 3_600_000;
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
  /** A node of the device for this pod alone, which the image's owner may open. */
  readonly node: string;
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
  const [{ stdout }, found] = await Promise.all([
    run("sha256sum", ["--binary", "--", image.path]),
    readDevice(at.shim, target.node),
  ]);
  const sha256 = stdout.slice(0, 64);
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

/** A child of the shim as the image's owner, with its two files and no right over others: the image may be anybody's. */
async function writeImage(
  { shim, podDir }: { readonly shim: ShimLink; readonly podDir: string },
  image: RootImage & { readonly sha256: string },
  { node, path }: RootTarget,
): Promise<void> {
  const program = await findProgram(QEMU_IMG);
  if (program === undefined) {
    throw new TrineError(
      "wrongState",
      `no ${QEMU_IMG.join(" or ")}: install the package qemu-utils`,
    );
  }
  const { uid, gid } = await stat(image.path);
  const key = `root-${image.sha256.slice(0, 16)}`;
  const logPath = join(podDir, "root-writer.log");
  await shim.spawn({
    key,
    argv: [PROGRAM, ...convertArguments(image)],
    env: [],
    uid,
    gid,
    jail: {
      binds: [
        { source: program, target: PROGRAM },
        ...(await libraryBinds()),
        { source: "/dev/null", target: "/dev/null", writable: true, device: true },
        { source: image.path, target: IMAGE },
        { source: node, target: TARGET, writable: true, device: true },
      ],
      newNetwork: true,
    },
    logPath,
  });
  try {
    const end = await pollUntil(`${path} is written`, { ms: WRITE_MS, everyMs: 200 }, async () => {
      const { children } = await shim.describe();
      return children.find((each) => each.key === key && !each.running);
    });
    if (end.exitCode === 0) return;
    const words = (await readFile(logPath, "utf8").catch(() => "")).trim().slice(-LOG_CHARS);
    throw new TrineError("unavailable", `write the image to device ${path}: ${words || "no word"}`);
  } finally {
    await endChild(shim, key);
    await rm(logPath, { force: true });
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

import { createHash } from "node:crypto";
import {
  access,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { packageBehind, unpackPackage } from "./debian-package.ts";
import type { DebianPackage } from "./debian-package.ts";
import { KERNEL_FRAGMENT, PASSING_FRAGMENT } from "./kernel-fragment.ts";
import type { KernelContext, KernelFiles } from "./kernel-files.ts";
import { runTool } from "./run-tool.ts";

const META_PACKAGE = "linux-source";
const MAX_LOG = 64 << 20;

/** What compiling a kernel takes, and Debian's packages of it. */
const TOOLS: Readonly<Record<string, string>> = {
  make: "make",
  gcc: "gcc",
  ld: "binutils",
  objcopy: "binutils",
  bc: "bc",
  flex: "flex",
  bison: "bison",
  perl: "perl",
  tar: "tar",
  xz: "xz-utils",
};
const HEADERS: Readonly<Record<string, string>> = { "/usr/include/gelf.h": "libelf-dev" };

/** The same sources give the same kernel, whenever and wherever they are compiled. */
const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: "1970-01-01",
  KBUILD_BUILD_USER: "trine",
  KBUILD_BUILD_HOST: "trine",
  KBUILD_BUILD_VERSION: "1",
};

/**
 * The small kernel, compiled from Debian's sources or from the cache, where it is kept by sources, configuration
 * and compiler. Kind `unavailable` names the packages that are missing.
 */
export async function sourceKernel(context: KernelContext): Promise<KernelFiles> {
  await checkTools(context.signal);
  const sources = await packageBehind(META_PACKAGE, "linux-source-", context.signal);
  const compiler = await runTool("gcc", ["-dumpfullversion"], { signal: context.signal });
  const recipe = JSON.stringify([
    sources.sha256,
    KERNEL_FRAGMENT,
    PASSING_FRAGMENT,
    compiler.toString(),
    REPRODUCIBLE,
  ]);
  const key = createHash("sha256").update(recipe).digest("hex").slice(0, 16);
  const kept = join(context.cacheDir, `guest-kernel-${key}`);
  const isKept = await access(kept).then(
    () => true,
    () => false,
  );
  if (!isKept) await compileInto(kept, sources, context);
  return {
    source: `built from Debian ${sources.name} ${sources.version} (gcc ${compiler.toString().trim()})`,
    path: join(kept, "vmlinux"),
    config: await readFile(join(kept, "config"), "utf8"),
  };
}

async function checkTools(signal: AbortSignal): Promise<void> {
  const missing = new Set<string>();
  const has = 'for program; do command -v "$program" >&2 || echo "$program"; done';
  const absent = await runTool("sh", ["-c", has, "sh", ...Object.keys(TOOLS)], { signal });
  for (const program of absent.toString().split("\n")) missing.add(TOOLS[program] ?? "");
  for (const [file, name] of Object.entries(HEADERS)) {
    await access(file).catch(() => missing.add(name));
  }
  missing.delete("");
  if (missing.size === 0) return;
  const names = [...missing].join(" ");
  throw new TrineError("unavailable", `a kernel cannot be compiled here: apt-get install ${names}`);
}

async function compileInto(
  kept: string,
  sources: DebianPackage,
  context: KernelContext,
): Promise<void> {
  const tree = join(context.workDir, "source");
  await unpackSources(sources, tree, context);
  await writeFile(join(tree, "trine.config"), KERNEL_FRAGMENT + PASSING_FRAGMENT);
  await make(tree, ["KCONFIG_ALLCONFIG=trine.config", "allnoconfig"], context);
  const config = await readFile(join(tree, ".config"), "utf8");
  checkTaken(config);
  context.say("compiling the kernel, which takes some minutes");
  await make(tree, [`-j${availableParallelism()}`, "vmlinux"], context);

  await mkdir(context.cacheDir, { recursive: true });
  const making = await mkdtemp(`${kept}.making-`);
  try {
    const args = ["-S", "-R", ".comment", join(tree, "vmlinux"), join(making, "vmlinux")];
    await runTool("objcopy", args, { signal: context.signal });
    await copyFile(join(tree, ".config"), join(making, "config"));
    // Someone else may have compiled the same meanwhile: it is the same.
    await rename(making, kept).catch(() => access(kept));
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

async function unpackSources(
  sources: DebianPackage,
  tree: string,
  context: KernelContext,
): Promise<void> {
  const unpacked = join(context.workDir, "package");
  await unpackPackage(sources, unpacked, context);
  const names = await readdir(join(unpacked, "usr/src"), { recursive: true });
  const archive = names.find((name) => /(^|\/)linux-source-[^/]+\.tar\.[a-z0-9]+$/.test(name));
  if (archive === undefined) {
    throw new TrineError("invalid", `${sources.name}: holds no archive of sources`);
  }
  await mkdir(tree);
  const args = ["-xf", join(unpacked, "usr/src", archive), "--strip-components=1", "-C", tree];
  await runTool("tar", args, { signal: context.signal });
}

async function make(tree: string, args: readonly string[], context: KernelContext): Promise<void> {
  await runTool("make", ["-s", ...args], {
    cwd: tree,
    env: REPRODUCIBLE,
    maxBytes: MAX_LOG,
    signal: context.signal,
  });
}

/** Kind `invalid` with every option of ours that the kernel's configuration lacks. */
function checkTaken(config: string): void {
  const taken = new Set(config.split("\n"));
  const lost = KERNEL_FRAGMENT.split("\n").filter(
    (line) => line.startsWith("CONFIG_") && !taken.has(line),
  );
  if (lost.length === 0) return;
  throw new TrineError("invalid", `these sources do not take ${lost.join(", ")}`);
}

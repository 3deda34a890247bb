import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import { hashFile } from "./hash-file.ts";
import type { KernelContext } from "./kernel-files.ts";
import { runTool } from "./run-tool.ts";

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Of the .deb, hexadecimal, as apt's signed lists have it. */
  readonly sha256: string;
  readonly depends: string;
}

/** The package apt would install now. Kind `notFound` when its lists have none, `unavailable` without apt. */
async function findPackage(name: string, signal: AbortSignal): Promise<DebianPackage> {
  const args = ["show", "--no-all-versions", name];
  const text = await runTool("apt-cache", args, { signal }).catch((cause: unknown) => {
    if (cause instanceof TrineError && cause.kind === "internal") return ""; // no such package
    throw TrineError.during(`look for the package ${name}`, cause);
  });
  const fields = new Map(
    [...text.toString().matchAll(/^([A-Za-z0-9-]+): (.*)$/gm)].map(([, key = "", value = ""]) => [
      key,
      value,
    ]),
  );
  const version = fields.get("Version") ?? "";
  const sha256 = fields.get("SHA256") ?? "";
  if (!/^[0-9a-f]{64}$/.test(sha256) || !/^[A-Za-z0-9.+:~-]+$/.test(version)) {
    throw new TrineError(
      "notFound",
      `apt knows no package ${name}; run apt-get update, or give a kernel with --kernel`,
    );
  }
  return { name, version, sha256, depends: fields.get("Depends") ?? "" };
}

/** The package that a package without content stands for: the first it depends on that begins so. */
export async function packageBehind(
  meta: string,
  prefix: string,
  signal: AbortSignal,
): Promise<DebianPackage> {
  const { depends } = await findPackage(meta, signal);
  const name = depends.split(/[\s,|(]+/).find((word) => word.startsWith(prefix));
  if (name === undefined || !/^[a-z0-9][a-z0-9.+-]+$/.test(name)) {
    throw new TrineError("notFound", `the package ${meta} leads to no ${prefix}…; give --kernel`);
  }
  return findPackage(name, signal);
}

/** Unpacks a package's files into `dir`; nothing is installed and none of its scripts run. */
export async function unpackPackage(
  wanted: DebianPackage,
  dir: string,
  context: KernelContext,
): Promise<void> {
  const file = await fetchPackage(wanted, context);
  await mkdir(dir, { recursive: true });
  await runTool("dpkg-deb", ["-x", file, dir], { signal: context.signal });
}

/** The .deb, from the cache by its content or else by apt, which checks it; it is checked once more. */
async function fetchPackage(wanted: DebianPackage, context: KernelContext): Promise<string> {
  const store = join(context.cacheDir, "packages");
  const kept = join(store, `${wanted.sha256}.deb`);
  if (await isContent(kept, wanted.sha256, context.signal)) return kept;
  context.say(`downloading ${wanted.name} ${wanted.version}`);
  await mkdir(store, { recursive: true });
  const dir = await mkdtemp(join(store, "download-"));
  try {
    const args = ["download", "-qq", `${wanted.name}=${wanted.version}`];
    await runTool("apt-get", args, { cwd: dir, signal: context.signal }).catch((cause: unknown) => {
      context.signal.throwIfAborted();
      const doing = `download ${wanted.name} ${wanted.version} (apt-get update may help)`;
      throw new TrineError("unavailable", TrineError.during(doing, cause).message, { cause });
    });
    const [file = ""] = (await readdir(dir)).filter((name) => name.endsWith(".deb"));
    const path = join(dir, file);
    if (file === "" || !(await isContent(path, wanted.sha256, context.signal))) {
      throw new TrineError("internal", `apt-get brought something else than ${wanted.name}`);
    }
    await rename(path, kept);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return kept;
}

async function isContent(path: string, sha256: string, signal: AbortSignal): Promise<boolean> {
  const found = await hashFile(path, signal).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  });
  return found === sha256;
}

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { TrineError } from "@trine/base";
import { readAgent } from "./agent-binary.ts";
import { COMMAND_LINE } from "./command-line.ts";
import { debianKernel } from "./debian-kernel.ts";
import { FORMAT, MANIFEST } from "./guest-manifest.ts";
import type { GuestFile, GuestManifest } from "./guest-manifest.ts";
import { buildInitramfs } from "./initramfs.ts";
import {
  checkKernelConfig,
  embeddedConfig,
  featuresOf,
  parseKernelConfig,
} from "./kernel-config.ts";
import type { KernelConfig } from "./kernel-config.ts";
import type { KernelChoice, KernelContext, KernelFiles } from "./kernel-files.ts";
import { KernelModules } from "./kernel-modules.ts";
import type { KernelModule, OnDemandModule } from "./kernel-modules.ts";
import { ON_DEMAND_MODULES } from "./on-demand-modules.ts";
import { ownKernel } from "./own-kernel.ts";
import { sourceKernel } from "./source-kernel.ts";
import { extractVmlinux, kernelRelease } from "./vmlinux.ts";
import { wantedModules } from "./wanted-modules.ts";

const MAX_KERNEL = 1 << 30;

export interface GuestImageOptions {
  readonly kernel: KernelChoice;
  /** A static program: the guest's first. */
  readonly agent: string;
  /** Kept between builds: packages and compiled kernels. Default of the command: ~/.cache/trine. */
  readonly cacheDir: string;
  readonly signal: AbortSignal;
  /** Told what takes long, a line each. */
  readonly say: (line: string) => void;
}

/**
 * Fills an empty directory with an image: vmlinux, initrd.cpio, guest.json. The same kernel and agent give the
 * same bytes.
 */
export async function writeGuestImage(
  dir: string,
  options: GuestImageOptions,
): Promise<GuestManifest> {
  const { signal } = options;
  const agent = await readAgent(options.agent, signal);
  const workDir = await mkdtemp(join(tmpdir(), "trine-guest-"));
  try {
    const files = await findKernel(options.kernel, { ...options, workDir });
    const kernel = await readKernel(files, signal);
    const initrd = buildInitramfs(agent.data, kernel.modules, kernel.onDemand);
    const manifest: GuestManifest = {
      format: FORMAT,
      kernel: {
        release: kernel.release,
        source: files.source,
        file: await writeImageFile(dir, "vmlinux", kernel.vmlinux),
      },
      initrd: await writeImageFile(dir, "initrd.cpio", initrd),
      agent: { version: agent.version, sha256: sha256(agent.data) },
      cmdline: COMMAND_LINE,
      features: featuresOf(kernel.config),
      modules: kernel.modules.map(({ name }) => name),
    };
    const text = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`);
    await writeImageFile(dir, MANIFEST, text);
    return manifest;
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

function findKernel(choice: KernelChoice, context: KernelContext): Promise<KernelFiles> {
  switch (choice.from) {
    case "debian":
      return debianKernel(context);
    case "files":
      return ownKernel(choice, context);
    case "source":
      return sourceKernel(context);
  }
}

interface Kernel {
  readonly vmlinux: Buffer;
  readonly release: string;
  readonly config: KernelConfig;
  readonly modules: readonly KernelModule[];
  readonly onDemand: readonly OnDemandModule[];
}

/** Unpacks a kernel and picks its modules; refuses one that no guest of ours can run on. */
async function readKernel(files: KernelFiles, signal: AbortSignal): Promise<Kernel> {
  const name = basename(files.path);
  if ((await stat(files.path)).size > MAX_KERNEL) {
    throw new TrineError("exhausted", `${files.path}: larger than ${MAX_KERNEL} bytes`);
  }
  const vmlinux = await extractVmlinux(files.path, await readFile(files.path, { signal }), signal);
  const release = kernelRelease(files.path, vmlinux);
  const text = files.config ?? (await embeddedConfig(files.path, vmlinux));
  if (text === undefined) {
    throw new TrineError(
      "notFound",
      `${files.path}: how was it configured? Lay its configuration beside it, as config-${release}` +
        " or config",
    );
  }
  const config = parseKernelConfig(text);
  checkKernelConfig(name, config);
  return { vmlinux, release, config, ...(await modulesFor(files, release, config, signal)) };
}

async function modulesFor(
  { path, modulesDir }: KernelFiles,
  release: string,
  config: KernelConfig,
  signal: AbortSignal,
): Promise<Pick<Kernel, "modules" | "onDemand">> {
  const wanted = wantedModules(config);
  if (wanted.length === 0) return { modules: [], onDemand: [] };
  if (modulesDir === undefined) {
    const names = wanted.slice(0, 5).join(", ");
    throw new TrineError("invalid", `${path}: has modules (${names}, …); give --modules DIR`);
  }
  if (basename(modulesDir) !== release) {
    throw new TrineError(
      "invalid",
      `${modulesDir}: modules of another kernel; ${path} is ${release}, and so its directory is named`,
    );
  }
  const kernel = await KernelModules.open(modulesDir);
  return {
    modules: await kernel.inLoadOrder(wanted, signal),
    onDemand: await kernel.onDemand(ON_DEMAND_MODULES, signal),
  };
}

async function writeImageFile(dir: string, name: string, data: Buffer): Promise<GuestFile> {
  await writeFile(join(dir, name), data, { mode: 0o644, flush: true });
  return { name, bytes: data.length, sha256: sha256(data) };
}

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

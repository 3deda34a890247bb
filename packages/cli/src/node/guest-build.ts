import { resolve } from "node:path";
import { TrineError } from "@trine/base";
import { buildGuestImage } from "@trine/guest-image";
import type { GuestManifest, KernelChoice } from "@trine/guest-image";
import { besideProgram } from "../beside-program.ts";
import type { Io } from "../io.ts";

const MIB = 1024 * 1024;

export interface GuestBuildFlags {
  readonly out: string;
  readonly kernel?: string;
  readonly modules?: string;
  readonly fromSource: boolean;
  readonly agent?: string;
  readonly cache: string;
}

/** `trine guest build`: kernel and initramfs of this node's microVMs. */
export async function guestBuild(io: Io, flags: GuestBuildFlags): Promise<void> {
  const { manifest } = await buildGuestImage(flags.out, {
    kernel: kernelOf(flags),
    agent: resolve(flags.agent ?? besideProgram("bin/trine-agent")),
    cacheDir: flags.cache,
    signal: io.signal,
    say: (line) => io.stderr.write(`${line}\n`),
  });
  io.stdout.write(`${flags.out}\n`);
  io.stderr.write(`built ${summary(manifest)}\n`);
}

function kernelOf({ kernel, modules, fromSource }: GuestBuildFlags): KernelChoice {
  if (modules !== undefined && kernel === undefined) {
    throw new TrineError("invalid", "--modules goes with --kernel");
  }
  if (kernel !== undefined) {
    const own = { from: "files", kernel: resolve(kernel) } as const;
    return modules === undefined ? own : { ...own, modules: resolve(modules) };
  }
  return { from: fromSource ? "source" : "debian" };
}

function summary({ kernel, initrd, agent, modules }: GuestManifest): string {
  const size = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`;
  return (
    `Linux ${kernel.release} (${size(kernel.file.bytes)}), ` +
    `initramfs with ${modules.length} modules (${size(initrd.bytes)}), agent ${agent.version}`
  );
}

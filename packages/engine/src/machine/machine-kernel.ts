import { open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { openBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { ShimLink } from "@trine/shim-client";
import type { KernelSpec } from "@trine/vmm";
import { mountVolume, plain, volumeAbove } from "./disk-volumes.ts";
import type { MachineInput } from "./machine-input.ts";

const MIB = 1024 * 1024;
/** The VMM has both in its memory. */
const MOST_BYTES = { kernel: 128 * MIB, initrd: 512 * MIB } as const;
type File = keyof typeof MOST_BYTES;

interface Places {
  readonly shim: ShimLink;
  /** The mounted image of the container. */
  readonly rootfs: string;
  /** A directory in the container's writable layer. */
  readonly layer: string;
}

/**
 * What the firmware starts, where that is no disk: copies in the container's layer of files that others may write, for the
 * VMM opens them by name. Repeatable. Kind `notFound` or `invalid`.
 */
export async function machineKernel(
  places: Places,
  input: MachineInput,
): Promise<KernelSpec | undefined> {
  const { kernelPath, initrdPath, kernelArgs = "" } = input.settings;
  if (kernelPath === undefined) return undefined;
  const path = await ownCopy(places, input, "kernel", kernelPath);
  const initrd =
    initrdPath === undefined ? undefined : await ownCopy(places, input, "initrd", initrdPath);
  return { path, ...(initrd === undefined ? {} : { initrdPath: initrd }), args: kernelArgs };
}

async function ownCopy(
  { shim, rootfs, layer }: Places,
  { bundle, files }: MachineInput,
  file: File,
  path: string,
): Promise<string> {
  try {
    const volume = volumeAbove(bundle.spec, path);
    const place =
      volume === undefined
        ? { dir: rootfs, parts: plain(path).split("/").filter(Boolean) }
        : await mountVolume(shim, files.podDir, { name: `_${file}`, readOnly: true }, volume);
    return await copied(place, join(layer, file), MOST_BYTES[file]);
  } catch (cause) {
    throw TrineError.during(`trine.dev/${file}: ${path}`, cause);
  }
}

async function copied(place: Beneath, to: string, most: number): Promise<string> {
  if (place.parts.length === 0) throw new TrineError("invalid", "is a volume, and no file of it");
  await using source = await openBeneath(place);
  // The image may bring this name as a link to a file of the host: never write through it.
  await rm(to, { recursive: true, force: true });
  // The VMM reads it as its own user; nobody else comes into the layer. Not synced: a crash of the host ends the machine.
  await using target = await open(to, "wx", 0o444);
  await copyAtMost(source, target, most);
  return to;
}

async function copyAtMost(source: FileHandle, target: FileHandle, most: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(MIB);
  let done = 0;
  for (;;) {
    const { bytesRead } = await source.read(buffer, 0, buffer.length, done);
    if (bytesRead === 0) break;
    if (done + bytesRead > most) throw new TrineError("invalid", `is larger than ${most} bytes`);
    await target.writeFile(buffer.subarray(0, bytesRead));
    done += bytesRead;
  }
  if (done === 0) throw new TrineError("invalid", "is empty");
}

import { join } from "node:path";
import type { DiskSetting } from "@trine/annotations";
import { TrineError } from "@trine/base";
import type { Undo } from "@trine/base";
import { createOverlay, findMachineDisk, hasMachineDisk, inspectImage } from "@trine/disk-images";
import type { ShimLink } from "@trine/shim-client";
import type { DiskSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";
import { deviceBytes } from "../device-bytes.ts";
import { fileDisk } from "./disk-file.ts";
import { deviceAt, mountDevice, mountVolume, unmountDisks, volumeAt } from "./disk-volumes.ts";
import { ensureRoot } from "./image-root.ts";
import type { MachineInput } from "./machine-input.ts";
import { writeFilesDisk } from "./files-disk.ts";
import { ROOT_OFFSET } from "./root-header.ts";

/** Where disks are made, and what takes them back. */
interface Places {
  readonly shim: ShimLink;
  readonly config: EngineConfig;
  readonly undo: Undo;
  /** The mounted image of the container. */
  readonly rootfs: string;
  /** A directory in the container's writable layer. */
  readonly layer: string;
}

/** A disk's bytes as they are before the machine starts. */
type Base = Pick<DiskSpec, "format" | "path" | "source" | "inode" | "offsetBytes"> & {
  readonly bytes: number;
};

const ROOT: DiskSetting = {
  name: "root",
  source: { kind: "machine" },
  ...{ cdrom: false, readOnly: false, ephemeral: false, shared: false, discard: true },
};

/** The machine's disks, its root first, then those of trine.dev/disks in their order. Repeatable. */
export async function machineDisks(to: Places, input: MachineInput): Promise<DiskSpec[]> {
  const { disks, rootSizeBytes } = input.settings;
  const root = disks.find(({ name }) => name === "root") ?? ROOT;
  const sized = rootSizeBytes === undefined ? root : { ...root, sizeBytes: rootSizeBytes };
  const others = disks.filter(({ name }) => name !== "root");
  const all = (await needsNoRoot(to, input, root)) ? others : [sized, ...others];
  to.undo.defer("take the disks apart", () => unmountDisks(to.shim, input.files.podDir));
  const made: DiskSpec[] = [];
  for (const disk of all) {
    try {
      made.push(await makeDisk(to, input, disk, bootIndex(disk, disks)));
    } catch (cause) {
      throw disk.source.kind === "machine" ? cause : TrineError.during(`disk ${disk.name}`, cause);
    }
  }
  return made;
}

/** Where it is told to have none; and one with a kernel of its own has its image's disk where there is one. */
async function needsNoRoot(
  { rootfs }: Places,
  { settings: { kernelPath, rootSizeBytes, root: wanted } }: MachineInput,
  root: DiskSetting,
): Promise<boolean> {
  if (wanted === "none") return true;
  if (kernelPath === undefined || rootSizeBytes !== undefined || root !== ROOT) return false;
  return !(await hasMachineDisk(rootfs));
}

/** The root boots after what is said to boot, before all else. */
function bootIndex({ name, boot }: DiskSetting, all: readonly DiskSetting[]): number | undefined {
  if (boot !== undefined || name !== "root") return boot;
  return Math.max(0, ...all.flatMap((disk) => disk.boot ?? [])) + 1;
}

async function makeDisk(
  to: Places,
  input: MachineInput,
  disk: DiskSetting,
  boot: number | undefined,
): Promise<DiskSpec> {
  const { name, serial, cache, io, onError, readOnly, shared, discard, ownThread } = disk;
  const bus = disk.bus ?? input.settings.diskBus;
  // What is not written is a CD there.
  const cdrom = disk.cdrom || (bus === "sata" && disk.source.kind === "files");
  return {
    name,
    bus,
    ...(cdrom ? { media: "cdrom" } : {}),
    ...(await placed(to, input, disk)),
    readOnly,
    ...(boot === undefined ? {} : { bootIndex: boot }),
    ...(serial === undefined ? {} : { serial }),
    ...(cache === undefined ? {} : { cache }),
    ...(io === undefined ? {} : { io }),
    ...(onError === undefined ? {} : { onError }),
    ...(discard ? {} : { discard }),
    ...(shared ? { shared } : {}),
    ...(ownThread === true ? { ownThread } : {}),
  };
}

type Placed = Pick<DiskSpec, "format" | "path" | "source" | "inode" | "offsetBytes" | "backing">;

/** The disk itself, or an overlay in the container's layer over what is not to be written. */
async function placed(to: Places, input: MachineInput, disk: DiskSetting): Promise<Placed> {
  const { name, source, readOnly, ephemeral, sizeBytes } = disk;
  const path = join(to.layer, `${name}.qcow2`);
  if (source.kind === "empty") {
    await createOverlay(path, { virtualSizeBytes: sizeBytes ?? 0, sync: false });
    return { format: "qcow2", path };
  }
  const base = await baseOf(to, input, disk);
  const isKept = source.kind === "device" || source.kind === "file";
  if (readOnly || (isKept && !ephemeral)) {
    const { format, path: at, source: what, inode, offsetBytes } = base;
    return {
      ...{ format, path: at },
      ...(what === undefined ? {} : { source: what }),
      ...(inode === undefined ? {} : { inode }),
      ...(offsetBytes === undefined ? {} : { offsetBytes }),
    };
  }
  const wanted = sizeBytes ?? base.bytes;
  if (wanted < base.bytes) {
    const key = name === "root" ? "trine.dev/root-size" : "size";
    const what = source.kind === "machine" ? "the image's" : "its own";
    const why = `${key}: ${wanted} bytes is less than ${what} ${base.bytes}; it only enlarges`;
    throw new TrineError("invalid", why);
  }
  // Not synced: a crash of the host ends the machine that uses it.
  await createOverlay(path, { virtualSizeBytes: wanted, sync: false });
  const { format, path: under, source: what } = base;
  const backing = { format, path: under, ...(what === undefined ? {} : { source: what }) };
  return { format: "qcow2", path, backing };
}

async function baseOf(to: Places, input: MachineInput, disk: DiskSetting): Promise<Base> {
  const { source } = disk;
  switch (source.kind) {
    case "machine":
      return imageDisk(to, to.rootfs);
    case "image":
      return imageDisk(to, await imageVolume(to, input, disk, source.path));
    case "device":
      return deviceDisk(to, input, disk, source.path);
    case "file":
      return volumeFile(to, input, disk, source.path);
    case "files":
      return { format: "raw", ...(await writeFilesDisk(input, disk.name, source)) };
    case "empty":
      throw new TrineError("internal", "an empty disk is over nothing");
  }
}

async function imageDisk({ config }: Places, dir: string): Promise<Base> {
  const path = await findMachineDisk(dir);
  const info = await inspectImage(path, { maxVirtualBytes: config.machines.maxDiskBytes });
  return { format: info.format, path, bytes: info.virtualSizeBytes };
}

async function imageVolume(
  { shim }: Places,
  { bundle, files }: MachineInput,
  { name }: DiskSetting,
  path: string,
): Promise<string> {
  const volume = volumeAt(bundle.spec, path);
  if (volume.parts.length > 0) {
    throw new TrineError("invalid", `no volume of the container is mounted at ${path}`);
  }
  return (await mountVolume(shim, files.podDir, { name, readOnly: true }, volume)).dir;
}

async function deviceDisk(
  to: Places,
  { bundle, files, uid }: MachineInput,
  disk: DiskSetting,
  path: string,
): Promise<Base> {
  const { shim } = to;
  const { podDir } = files;
  const device = deviceAt(bundle.spec, path);
  const readOnly = disk.readOnly || disk.ephemeral;
  if (device.readOnly && !readOnly) throw readOnlyVolume(path);
  const bytes = await deviceBytes(device);
  const { name, shared, fromImage: onOther } = disk;
  const place = { name, readOnly, shared };
  const kept = { format: "raw", source: "block-device", bytes } as const;
  if (onOther === undefined) {
    return { ...kept, path: await mountDevice(shim, podDir, place, device) };
  }
  const image = await imageDisk(to, to.rootfs);
  const node = await mountDevice(shim, podDir, place, device, uid);
  await ensureRoot({ shim, podDir }, image, { node, uid, bytes, path, onOther });
  return { ...kept, path: node, offsetBytes: ROOT_OFFSET };
}

async function volumeFile(
  { shim, config }: Places,
  { bundle, files }: MachineInput,
  disk: DiskSetting,
  path: string,
): Promise<Base> {
  const volume = volumeAt(bundle.spec, path);
  const readOnly = disk.readOnly || disk.ephemeral;
  if (volume.readOnly && !readOnly) throw readOnlyVolume(path);
  const { name, ephemeral, format } = disk;
  const place = await mountVolume(shim, files.podDir, { name, readOnly }, volume);
  const sizeBytes = ephemeral ? undefined : disk.sizeBytes;
  const limits = { maxVirtualBytes: config.machines.maxDiskBytes };
  return fileDisk(place, {
    path,
    readOnly,
    limits,
    ...(format === undefined ? {} : { format }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  });
}

function readOnlyVolume(path: string): TrineError {
  const what = `the volume of ${path} is read-only`;
  return new TrineError("invalid", `${what}: say readOnly or ephemeral, or mount it to be written`);
}

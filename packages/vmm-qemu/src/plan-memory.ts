import { MEMORY_STEP, shareDevices } from "@trine/vmm";
import type { JailBind, MachineSpec, Template } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";
import { generation } from "./generation.ts";
import { option } from "./option.ts";
import { BALLOON_SLOT, MEMORY_SLOT, slot } from "./pci-slots.ts";

const MIB = 1024 * 1024;
export const BALLOON_ID = "balloon0";
/** The device that memory grows by. */
export const GROWING_ID = "memory1";
/** Name of a template's memory at its host. */
export const MEMORY_NAME = "memory";
/** All that the VMM sees of /proc. */
export const OWN_DESCRIPTORS = "/proc/self/fd";

/** The guest's memory is a file: a template's, shared with it while it is made, a clone's own copy of it then. */
function hasMemoryFile(spec: MachineSpec): boolean {
  return spec.isTemplate === true || spec.origin !== undefined;
}

export function hasBalloon(spec: MachineSpec): boolean {
  return !hasMemoryFile(spec) && spec.hardware?.balloon !== false;
}

/** What serves the guest's shares maps its memory too. */
function isSeenByServer(spec: MachineSpec): boolean {
  return shareDevices(spec).length > 0;
}

export function memoryArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  const { memoryBytes, memoryMaxBytes, hardware } = spec;
  const size = `${memoryBytes / MIB}M`;
  return [
    "-m",
    memoryMaxBytes === undefined
      ? size
      : option(`size=${size}`, { maxmem: `${memoryMaxBytes / MIB}M` }),
    ...fileMemoryArguments(spec, table),
    ...(isOneObject(spec)
      ? ["-object", memoryObject("memory0", memoryBytes, isSeenByServer(spec), hardware?.hugePages)]
      : []),
  ];
}

function isOneObject(spec: MachineSpec): boolean {
  return isSeenByServer(spec) || spec.hardware?.hugePages !== undefined;
}

/** Huge pages are all taken at the start: a guest that touches one that is not to be had would be killed. */
function memoryObject(id: string, bytes: number, share: boolean, hugePages?: number): string {
  const huge = { hugetlb: true, hugetlbsize: `${(hugePages ?? 0) / MIB}M`, prealloc: true };
  return option("memory-backend-memfd", {
    ...{ id, size: bytes, share },
    ...(hugePages === undefined ? {} : huge),
  });
}

/**
 * How memory changes. No balloon where it is a file: QEMU 7.2 punches a hole in the file for each page that a
 * guest gives back, also when the mapping is private, and so a clone's guest could destroy the template under
 * all others.
 */
export function memoryDevices(spec: MachineSpec): string[] {
  const { memoryBytes, memoryMaxBytes } = spec;
  return [
    ...(hasBalloon(spec) ? balloonArguments(spec) : []),
    ...(memoryMaxBytes === undefined
      ? []
      : growingArguments(memoryMaxBytes - memoryBytes, isSeenByServer(spec))),
  ];
}

/** Part of -machine. */
export function memoryMachineOption(spec: MachineSpec): { "memory-backend"?: string } {
  return hasMemoryFile(spec) || isOneObject(spec) ? { "memory-backend": "memory0" } : {};
}

/** A memory has no name: the VMM opens it through its own descriptors, which is all it sees of /proc. */
export function memoryBinds(spec: MachineSpec): JailBind[] {
  return hasMemoryFile(spec) ? [{ source: OWN_DESCRIPTORS, target: OWN_DESCRIPTORS }] : [];
}

/**
 * QEMU 7.2 opens the file for writing even where it only copies from it (`readonly` came to mean that in 8.2);
 * what it maps it maps as a private copy. A clone's is sealed, so that nothing else can be done with it
 * (docs/decisions/0007).
 */
function fileMemoryArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  if (!hasMemoryFile(spec)) return [];
  const { memoryBytes: bytes, origin } = spec;
  const number =
    origin === undefined
      ? table.add({ kind: "memory", name: MEMORY_NAME, bytes })
      : table.add({ kind: "sealed-memory", ...placeOf(origin.template), bytes });
  const file = {
    id: "memory0",
    size: bytes,
    "mem-path": `${OWN_DESCRIPTORS}/${number}`,
    share: origin === undefined,
  };
  return ["-object", option("memory-backend-file", file)];
}

function placeOf({ memoryPath, memoryInode }: Template): { path: string; inode: string } {
  return { path: memoryPath, inode: memoryInode };
}

function balloonArguments(spec: MachineSpec): string[] {
  return [
    "-device",
    option("virtio-balloon-pci", {
      id: BALLOON_ID,
      addr: slot(BALLOON_SLOT),
      "free-page-reporting": true,
      "deflate-on-oom": true,
      ...generation(spec),
    }),
  ];
}

function growingArguments(bytes: number, isShared: boolean): string[] {
  return [
    "-object",
    isShared
      ? memoryObject("growing0", bytes, true)
      : option("memory-backend-ram", { id: "growing0", size: bytes }),
    "-device",
    option("virtio-mem-pci", {
      id: GROWING_ID,
      addr: slot(MEMORY_SLOT),
      memdev: "growing0",
      // Its own default asks /sys, which the jail does not have.
      "block-size": MEMORY_STEP,
      "requested-size": 0,
    }),
  ];
}

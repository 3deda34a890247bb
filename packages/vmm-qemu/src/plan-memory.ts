import { MEMORY_STEP } from "@trine/vmm";
import type { JailBind, MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";
import { BALLOON_SLOT, MEMORY_SLOT, slot } from "./pci-slots.ts";

const MIB = 1024 * 1024;
export const BALLOON_ID = "balloon0";
/** The device that memory grows by. */
export const GROWING_ID = "memory1";
const MEMORY_FILE = "/files/memory";

/** The guest's memory is a file: a template's, shared with it while it is made, a clone's own copy of it then. */
function memoryPath(spec: MachineSpec): string | undefined {
  return spec.origin?.template.memoryPath ?? spec.memoryFile;
}

export function hasBalloon(spec: MachineSpec): boolean {
  return memoryPath(spec) === undefined;
}

export function memoryArguments(spec: MachineSpec): string[] {
  const { memoryBytes, memoryMaxBytes } = spec;
  const size = `${memoryBytes / MIB}M`;
  return [
    "-m",
    memoryMaxBytes === undefined
      ? size
      : option(`size=${size}`, { maxmem: `${memoryMaxBytes / MIB}M` }),
    ...fileMemoryArguments(spec),
  ];
}

/**
 * How memory changes. No balloon where it is a file: QEMU 7.2 punches a hole in the file for each page that a
 * guest gives back, also when the mapping is private, and so a clone's guest could destroy the template under
 * all others.
 */
export function memoryDevices(spec: MachineSpec): string[] {
  const { memoryBytes, memoryMaxBytes } = spec;
  return [
    ...(hasBalloon(spec) ? balloonArguments() : []),
    ...(memoryMaxBytes === undefined ? [] : growingArguments(memoryMaxBytes - memoryBytes)),
  ];
}

/** Part of -machine. */
export function memoryMachineOption(spec: MachineSpec): { "memory-backend"?: string } {
  return memoryPath(spec) === undefined ? {} : { "memory-backend": "memory0" };
}

/**
 * QEMU 7.2 opens the file for writing even where it only copies from it (`readonly` came to mean that in 8.2);
 * what it maps it maps as a private copy.
 */
export function memoryBinds(spec: MachineSpec): JailBind[] {
  const source = memoryPath(spec);
  return source === undefined ? [] : [{ source, target: MEMORY_FILE, writable: true }];
}

function fileMemoryArguments(spec: MachineSpec): string[] {
  if (memoryPath(spec) === undefined) return [];
  const file = {
    id: "memory0",
    size: spec.memoryBytes,
    "mem-path": MEMORY_FILE,
    share: spec.origin === undefined,
  };
  return ["-object", option("memory-backend-file", file)];
}

function balloonArguments(): string[] {
  return [
    "-device",
    option("virtio-balloon-pci", {
      id: BALLOON_ID,
      addr: slot(BALLOON_SLOT),
      "free-page-reporting": true,
      "deflate-on-oom": true,
      "disable-legacy": true,
    }),
  ];
}

function growingArguments(bytes: number): string[] {
  return [
    ...["-object", option("memory-backend-ram", { id: "growing0", size: bytes })],
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

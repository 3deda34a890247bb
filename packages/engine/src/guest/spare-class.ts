import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EngineConfig } from "../deps.ts";
import { GUEST_LIMITS } from "./guest-size.ts";
import type { GuestSize } from "../pod-document.ts";

const MIB = 1024 * 1024;
/** What the shim reads (crates/shim/src/fit.rs). */
const VERSION = 1;
/** Runtimes whose pods are microvms, as their shims are called (levels.ts). */
const RUNTIMES = ["containerd-shim-trine-microvm-v2", "containerd-shim-trine-v2"];

/** How many spares of one size are kept. */
export interface SpareClass extends GuestSize {
  readonly count: number;
}

/** Short: socket paths lead through it. */
export function classNameOf({ cpus, memoryBytes }: GuestSize): string {
  return `${cpus}-${Math.floor(memoryBytes / MIB)}`;
}

/** The classes a node keeps, the node's defaults put in; a size that is named twice counts once, with the larger count. */
export function classesOf({ microvms }: EngineConfig): SpareClass[] {
  const classes = new Map<string, SpareClass>();
  for (const { cpus, memoryBytes, count } of microvms.pool) {
    const wanted = memoryBytes ?? microvms.defaultMemoryBytes;
    const whole = Math.max(GUEST_LIMITS.leastMemoryBytes, Math.floor(wanted / MIB) * MIB);
    const size = { cpus: cpus ?? microvms.defaultCpus, memoryBytes: whole };
    const name = classNameOf(size);
    const known = classes.get(name)?.count ?? 0;
    classes.set(name, { ...size, count: Math.max(count, known) });
  }
  return [...classes.values()];
}

/** Tells every `start` of a shim which pods these spares are for. Read while it is written: replaced as a whole. */
export async function writeClass(dir: string, size: GuestSize, node: GuestSize): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, "class.json");
  const text = JSON.stringify({
    version: VERSION,
    runtimes: RUNTIMES,
    cpus: size.cpus,
    memoryBytes: size.memoryBytes,
    defaultCpus: node.cpus,
    defaultMemoryBytes: node.memoryBytes,
    ...GUEST_LIMITS,
    annotations: {
      "trine.dev/cpus": [`${size.cpus}`],
      "trine.dev/memory": quantitiesOf(size.memoryBytes),
    },
  });
  await writeFile(`${path}.tmp`, text);
  await rename(`${path}.tmp`, path);
}

/** The usual ways to write a number of bytes; a pod that writes it otherwise boots its own guest. */
function quantitiesOf(bytes: number): string[] {
  const units = Object.entries({ "": 1, Ki: 1024, Mi: MIB, Gi: 1024 * MIB });
  return units.flatMap(([unit, size]) => (bytes % size === 0 ? [`${bytes / size}${unit}`] : []));
}

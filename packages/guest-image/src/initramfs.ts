import { writeCpio } from "./cpio.ts";
import type { CpioEntry } from "./cpio.ts";
import type { KernelModule, OnDemandModule } from "./kernel-modules.ts";

/** Where the agent mounts what it needs. */
const EMPTY_DIRECTORIES = ["dev", "proc", "sys", "run", "tmp", "etc/trine"];

/** Modules in load order, a line each: absolute file names. */
const MODULE_LIST = "etc/trine/modules";

/** A line a module that is loaded when the kernel asks: `NAME NEEDED,NEEDED ALIAS…`, `-` for none needed. */
const ON_DEMAND_TABLE = "etc/trine/modules.on-demand";

/**
 * The guest's first and only root: the agent as /init, its modules and their order, and the two devices a
 * program needs before anything is mounted.
 */
export function buildInitramfs(
  agent: Uint8Array,
  modules: readonly KernelModule[],
  onDemand: readonly OnDemandModule[] = [],
): Buffer {
  const all = new Map([...modules, ...onDemand].map(({ name, data }) => [name, data]));
  const files = [...all].map(([name, data]) => ({ path: pathOf(name), data }));
  const list = modules.map(({ name }) => `/${pathOf(name)}\n`).join("");
  const table = onDemand.map(
    ({ name, needs, aliases }) => `${[name, needs.join(",") || "-", ...aliases].join(" ")}\n`,
  );
  const entries: CpioEntry[] = [
    ...EMPTY_DIRECTORIES.map((path) => ({ path, kind: "directory" as const })),
    { path: "init", kind: "file", data: agent, executable: true },
    { path: MODULE_LIST, kind: "file", data: Buffer.from(list) },
    ...(table.length === 0
      ? []
      : [{ path: ON_DEMAND_TABLE, kind: "file" as const, data: Buffer.from(table.join("")) }]),
    { path: "dev/console", kind: "device", major: 5, minor: 1, mode: 0o600 },
    { path: "dev/null", kind: "device", major: 1, minor: 3, mode: 0o666 },
    ...files.map((file) => ({ ...file, kind: "file" as const })),
  ];
  return writeCpio(entries);
}

function pathOf(module: string): string {
  return `lib/modules/${module}.ko`;
}

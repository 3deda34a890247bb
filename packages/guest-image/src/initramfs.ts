import { writeCpio } from "./cpio.ts";
import type { CpioEntry } from "./cpio.ts";
import type { KernelModule } from "./kernel-modules.ts";

/** Where the agent mounts what it needs. */
const EMPTY_DIRECTORIES = ["dev", "proc", "sys", "run", "tmp", "etc/trine"];

/** Modules in load order, a line each: absolute file names. */
const MODULE_LIST = "etc/trine/modules";

/**
 * The guest's first and only root: the agent as /init, its modules and their order, and the two devices a
 * program needs before anything is mounted.
 */
export function buildInitramfs(agent: Uint8Array, modules: readonly KernelModule[]): Buffer {
  const files = modules.map(({ name, data }) => ({ path: `lib/modules/${name}.ko`, data }));
  const list = files.map(({ path }) => `/${path}\n`).join("");
  const entries: CpioEntry[] = [
    ...EMPTY_DIRECTORIES.map((path) => ({ path, kind: "directory" as const })),
    { path: "init", kind: "file", data: agent, executable: true },
    { path: MODULE_LIST, kind: "file", data: Buffer.from(list) },
    { path: "dev/console", kind: "device", major: 5, minor: 1, mode: 0o600 },
    { path: "dev/null", kind: "device", major: 1, minor: 3, mode: 0o666 },
    ...files.map((file) => ({ ...file, kind: "file" as const })),
  ];
  return writeCpio(entries);
}

import { execFile } from "node:child_process";
import { access, constants, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { TrineError, messageOf } from "@trine/base";
import { ownFile } from "./marked-text.ts";
import type { Step } from "./step.ts";

const run = promisify(execFile);
const PROGRAMS = ["runsc", "containerd-shim-runsc-v1"] as const;
const TOOL_MS = 60_000;
/** ConfigPath of deploy/containerd/gvisor-*.toml. */
const SHIM_CONFIG = "/etc/containerd/runsc.toml";

/** A directory with gVisor's two programs; `dispose` when its steps are done. */
export interface GvisorPrograms {
  readonly dir: string;
  readonly dispose: () => Promise<void>;
}

/** Looks that both are there and run. */
export async function gvisorFrom(dir: string): Promise<GvisorPrograms> {
  for (const name of PROGRAMS) {
    const file = join(dir, name);
    try {
      await access(file, constants.X_OK);
      await run(file, [name === "runsc" ? "--version" : "-v"], { timeout: TOOL_MS });
    } catch (cause) {
      const what = `--gvisor ${dir}: ${name} does not run: ${messageOf(cause)}`;
      throw new TrineError("invalid", what, { cause });
    }
  }
  return { dir, dispose: () => Promise.resolve() };
}

/** Out of a .deb as gVisor's project makes it: unpacked beside, not installed, none of its scripts run. */
export async function gvisorFromPackage(file: string): Promise<GvisorPrograms> {
  const dir = await mkdtemp(join(tmpdir(), "trine-gvisor-"));
  const dispose = (): Promise<void> => rm(dir, { recursive: true, force: true });
  try {
    await run("dpkg-deb", ["--extract", file, dir], { timeout: TOOL_MS });
    return { ...(await gvisorFrom(join(dir, "usr/bin"))), dispose };
  } catch (cause) {
    await dispose();
    throw TrineError.during(`gVisor's package ${file}`, cause);
  }
}

/**
 * The programs beside ours, where containerd looks for shims, and the shim's own configuration. Platform systrap: it
 * needs no KVM, and is gVisor's own default.
 */
export function gvisorSteps(prefix: string, { dir }: Pick<GvisorPrograms, "dir">): Step[] {
  const config = `binary_name = "${prefix}/bin/runsc"\n\n[runsc_config]\n  platform = "systrap"\n`;
  const copies = PROGRAMS.map((name): Step => {
    const path = join(prefix, "bin", name);
    return { kind: "copy", what: "gVisor", path, from: join(dir, name), mode: 0o755, restarts: [] };
  });
  return [
    ...copies,
    {
      kind: "text",
      what: "gVisor's shim",
      path: SHIM_CONFIG,
      restarts: [],
      edit: () => ownFile(config),
    },
  ];
}

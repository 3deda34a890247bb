import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { TrineError, messageOf } from "@trine/base";
import type { NodeFiles } from "./node-files.ts";
import type { NodeKind } from "./node-kind.ts";
import type { Service } from "./step.ts";

const run = promisify(execFile);
const CALL_MS = 180_000;

/** The node's service manager. */
export interface ServiceManager {
  reload(): Promise<void>;
  restart(unit: string): Promise<void>;
  stop(unit: string): Promise<void>;
  /** When the unit last became active (ms since 1970); undefined where it is not. */
  activeSince(unit: string): Promise<number | undefined>;
}

/** undefined where the node's files are not those of a running system: an image's, or one of another init. */
export async function findServiceManager(files: NodeFiles): Promise<ServiceManager | undefined> {
  if (!(await files.exists("/run/systemd/system"))) return undefined;
  const call = async (...args: readonly string[]): Promise<string> => {
    // In the node's own files: this machine's systemctl may be of another release, or not there.
    const [program, ...rest] =
      files.root === "/" ? ["systemctl", ...args] : ["chroot", files.root, "systemctl", ...args];
    try {
      return (await run(program, rest, { timeout: CALL_MS })).stdout;
    } catch (cause) {
      throw new TrineError("internal", `systemctl ${args.join(" ")}: ${messageOf(cause)}`, {
        cause,
      });
    }
  };
  return {
    reload: () => call("daemon-reload").then(done),
    restart: (unit) => call("restart", unit).then(done),
    stop: (unit) => call("stop", unit).then(done),
    activeSince: async (unit) => {
      const stamp = await call(
        "show",
        "--property=ActiveEnterTimestamp",
        "--timestamp=us+utc",
        unit,
      );
      return parseStamp(stamp);
    },
  };
}

const done = (): void => undefined;

/** `ActiveEnterTimestamp=Sun 2026-11-22 06:00:01.123456 UTC`; nothing behind it where the unit was never active. */
function parseStamp(text: string): number | undefined {
  const match = /=\S+ (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,3})?)\d* UTC/.exec(text);
  return match === null ? undefined : Date.parse(`${String(match[1])}T${String(match[2])}Z`);
}

const UNIT_DIRS = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];

/** Units of each service on such a node; of several that could be it the one that is there. */
export async function unitsOf(
  files: NodeFiles,
  kind: NodeKind,
): Promise<Readonly<Record<Service, string>>> {
  let containerd = kind.units[0] ?? "containerd.service";
  for (const unit of [...kind.units].reverse()) {
    for (const dir of UNIT_DIRS) {
      if (await files.exists(`${dir}/systemd/system/${unit}`)) containerd = unit;
    }
  }
  return {
    "trine-lxcfs": "trine-lxcfs.service",
    trined: "trined.service",
    containerd,
    kubelet: "kubelet.service",
  };
}

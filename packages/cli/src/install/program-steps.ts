import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { Step } from "./step.ts";

/** Below a prefix, as `make install` lays it out (scripts/install.ts). */
const TREES = ["lib/trine", "share/trine"];
const UNIT_DIR = "lib/systemd/system";
const BINARIES = /^(trine|trined|trine-[a-z0-9]+|containerd-shim-trine-[a-z0-9-]+)$/;
const UNITS = { "trine-lxcfs": "trine-lxcfs.service", trined: "trined.service" } as const;
/** Where systemd finds units by itself. */
const USUAL_PREFIXES = ["/usr", "/usr/local"];
const WANTS = "/etc/systemd/system/multi-user.target.wants";

/** For a node whose root is not this machine's: all that `make install` has laid here, to the same places. */
export async function programSteps(prefix: string): Promise<Step[]> {
  const names = (await readdir(join(prefix, "bin"))).filter((name) => BINARIES.test(name));
  const files = names.map((name) => `bin/${name}`);
  for (const tree of TREES) {
    const entries = await readdir(join(prefix, tree), { recursive: true, withFileTypes: true });
    const plain = entries.filter((entry) => !entry.isDirectory());
    files.push(...plain.map((each) => join(each.parentPath, each.name).slice(prefix.length + 1)));
  }
  files.push(...Object.values(UNITS).map((unit) => `${UNIT_DIR}/${unit}`));
  return Promise.all(files.sort().map((file) => copyStep(prefix, file)));
}

async function copyStep(prefix: string, file: string): Promise<Step> {
  const path = join(prefix, file);
  const found = await lstat(path).catch((cause: unknown) => {
    throw TrineError.during(`${prefix} is not whole, run make install again`, cause);
  });
  const step = {
    what: "program",
    path,
    restarts: file.endsWith(".service") ? [] : restartsOf(file),
  };
  if (found.isSymbolicLink()) return { ...step, kind: "link", target: await readlink(path) };
  return { ...step, kind: "copy", from: path, mode: found.mode & 0o777 };
}

/** Shims and helpers are started anew for each pod. */
function restartsOf(file: string): Step["restarts"] {
  return file === "lib/trine/trined.mjs" || file.startsWith("lib/trine/chunks/") ? ["trined"] : [];
}

/** What `systemctl enable` makes: the units start with the node. */
export function unitSteps(prefix: string, services: readonly (keyof typeof UNITS)[]): Step[] {
  return services.flatMap((service) => {
    const unit = UNITS[service];
    const target = join(prefix, UNIT_DIR, unit);
    const link = (path: string, what: string): Step => {
      return { kind: "link", what, path, target, restarts: [service] };
    };
    const known = link(`/etc/systemd/system/${unit}`, "unit");
    const starts = link(`${WANTS}/${unit}`, "unit, started with the node");
    return USUAL_PREFIXES.includes(prefix) ? [starts] : [known, starts];
  });
}

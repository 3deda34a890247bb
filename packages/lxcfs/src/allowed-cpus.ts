import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TrineError, errnoOf, parseCpuList } from "@trine/base";

/** Where the CPUs of a cgroup are said: cgroup v1, and v2. */
const HIERARCHIES = [
  ["cpuset", "cpuset.effective_cpus"],
  ["", "cpuset.cpus.effective"],
] as const;

/**
 * CPUs that a pod may run on, by its cgroup or the nearest one above it that says. `parent`: the pod's cgroup as CRI has it, a path or
 * systemd's name of a slice; empty: the node's. Kind `unavailable` where nothing says.
 */
export function allowedCpus(parent: string, root = "/sys/fs/cgroup"): number[] {
  const parts = partsOf(parent);
  for (let depth = parts.length; depth >= 0; depth -= 1) {
    for (const [hierarchy, file] of HIERARCHIES) {
      const cpus = readCpus(join(root, hierarchy, ...parts.slice(0, depth), file));
      if (cpus.length > 0) return cpus;
    }
  }
  throw new TrineError("unavailable", `no cgroup says which CPUs ${parent || "the node"} has`);
}

/** systemd.slice(5): `a-b.slice` lies in `a.slice`. */
function partsOf(parent: string): string[] {
  const parts = parent.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new TrineError("invalid", "a pod's cgroup leads out of it");
  const [only] = parts;
  if (parts.length !== 1 || only?.endsWith(".slice") !== true) return parts;
  const names = only.slice(0, -".slice".length).split("-");
  return names.map((_, index) => `${names.slice(0, index + 1).join("-")}.slice`);
}

function readCpus(file: string): number[] {
  try {
    return parseCpuList(readFileSync(file, "utf8").trim()); // cgroup v1 has empty ones
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return []; // the one above it says
    throw cause;
  }
}

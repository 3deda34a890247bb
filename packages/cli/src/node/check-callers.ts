import { UNTESTED } from "./finding.ts";
import type { Check, Finding } from "./finding.ts";
import { findProgram } from "./find-program.ts";

/** Programs beside kubelet that start containers, and what they call ours. */
const CALLERS = [
  ["dockerd", "docker run --runtime io.containerd.trine-microvm.v2"],
  ["nerdctl", "nerdctl run --runtime io.containerd.trine-microvm.v2"],
  ["crio", 'runtime_type = "vm" in crio.conf'],
] as const;

export const CALLER_CHECKS: readonly Check[] = [
  { name: "callers", run: () => checkCallers(process.env["PATH"] ?? "") },
];

/** Who else on this node may start pods here. */
export async function checkCallers(path: string): Promise<Omit<Finding, "name">> {
  const found: string[] = [];
  for (const [program, how] of CALLERS) {
    if ((await findProgram(path, [program])) !== undefined) found.push(`${program} (${how})`);
  }
  if (found.length === 0) return { status: "ok", detail: "no dockerd, nerdctl or CRI-O here" };
  return {
    status: "warn",
    detail: `${found.join(", ")}: ${UNTESTED}`,
    fix: "see docs/compatibility.md for what is there and what is not",
  };
}

import { Command } from "commander";
import { CHECKS } from "./doctor-checks.ts";
import type { Finding } from "./doctor-checks.ts";
import { parseOutput } from "./io.ts";
import type { Io } from "./io.ts";

const MARK: Record<Finding["status"], string> = { ok: "ok  ", warn: "warn", fail: "FAIL" };

export function doctorCommand(io: Io): Command {
  return new Command("doctor")
    .description("check this node and say how to fix what is wrong")
    .option("-o, --output <format>", "table or json", parseOutput, "table")
    .option("--containerd <socket>", "containerd's socket", "/run/containerd/containerd.sock")
    .option("--qemu <path>", "QEMU's program", "/usr/bin/qemu-system-x86_64")
    .addHelpText(
      "after",
      "\nExamples:\n  trine doctor\n  trine doctor -o json | jq '.items[] | select(.status != \"ok\")'",
    )
    .action(async (flags: { output: "table" | "json"; containerd: string; qemu: string }) => {
      const node = { stateDir: io.stateDir, containerd: flags.containerd, qemu: flags.qemu };
      const items: Finding[] = [];
      for (const check of CHECKS) items.push(await check(node, io.signal));
      if (flags.output === "json") io.stdout.write(`${JSON.stringify({ items }, null, 2)}\n`);
      else for (const finding of items) io.stdout.write(line(finding));
      if (items.some((finding) => finding.status === "fail")) process.exitCode = 1;
    });
}

function line(finding: Finding): string {
  const fix = finding.fix === undefined ? "" : `\n       fix: ${finding.fix}`;
  return `${MARK[finding.status]} ${finding.name}: ${finding.detail}${fix}\n`;
}

import { Command } from "commander";
import type { PodSummary } from "@trine/engine";
import { parseOutput, table } from "./io.ts";
import type { Io } from "./io.ts";
import { NodeClient } from "./node-client.ts";

const MIB = 1024 * 1024;
const HEADER = ["NAMESPACE", "POD", "MACHINE", "STATE", "CPUS", "MEMORY", "ADDRESS", "PID"];

export function psCommand(io: Io): Command {
  return new Command("ps")
    .description("list the pods with machines on this node")
    .option("-o, --output <format>", "table or json", parseOutput, "table")
    .addHelpText("after", "\nExamples:\n  trine ps\n  trine ps -o json | jq '.items[].name'")
    .action(async (flags: { output: "table" | "json" }) => {
      const items = await new NodeClient(io.stateDir).pods();
      io.stdout.write(
        flags.output === "json"
          ? `${JSON.stringify({ items }, null, 2)}\n`
          : table(HEADER, items.map(toRow)),
      );
    });
}

function toRow(pod: PodSummary): string[] {
  const machine = pod.machine;
  return [
    pod.podNamespace || pod.namespace,
    pod.name,
    machine?.containerName ?? "-",
    machine?.state ?? "none",
    machine === undefined ? "-" : String(machine.cpus),
    machine === undefined ? "-" : `${machine.memoryBytes / MIB}Mi`,
    pod.addresses[0] ?? "-",
    machine?.pid === undefined ? "-" : String(machine.pid),
  ];
}

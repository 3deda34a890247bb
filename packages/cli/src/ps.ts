import type { PodSummary } from "@trine/engine";
import type { Io } from "./io.ts";
import { NodeClient } from "./node-client.ts";
import { table } from "./table.ts";

const MIB = 1024 * 1024;
const HEADER = ["NAMESPACE", "POD", "MACHINE", "STATE", "CPUS", "MEMORY", "ADDRESS", "PID"];

/** `trine ps` */
export async function listPods(io: Io, flags: { output: "table" | "json" }): Promise<void> {
  const items = await new NodeClient(io).pods();
  io.stdout.write(
    flags.output === "json"
      ? `${JSON.stringify({ items }, null, 2)}\n`
      : table(HEADER, items.map(toRow)),
  );
}

function toRow(pod: PodSummary): string[] {
  const machine = pod.machine;
  return [
    pod.podNamespace || pod.namespace,
    pod.name,
    machine?.containerName ?? "-",
    machine?.state ?? "none",
    machine === undefined ? "-" : String(machine.cpus),
    machine === undefined ? "-" : `${Math.floor(machine.memoryBytes / MIB)}Mi`,
    pod.addresses[0] ?? "-",
    machine?.pid === undefined ? "-" : String(machine.pid),
  ];
}

import type { Command } from "commander";
import {
  POD,
  count,
  duration,
  examples,
  namespaceOption,
  selectorOption,
  withOptions,
} from "./flag-values.ts";
import type { Act } from "./act.ts";
import type { Io } from "../io.ts";
import type { EventsFlags } from "../show/events.ts";
import type { LogsFlags } from "../show/logs.ts";
import type { InspectFlags } from "../show/inspect.ts";
import type { TopFlags } from "../show/top.ts";
import type { WhyFlags } from "../show/why.ts";
import { listOptions } from "../output/output.ts";
import type { PsFlags } from "../show/ps.ts";

/** Verbs that show. */
export function lookCommands(trine: Command, io: Io, act: Act): void {
  psCommand(trine, io, act);
  logsCommand(trine, io, act);
  withOptions(trine.command("inspect"), listOptions("json"))
    .description("print all that the node knows of pods")
    .argument("[pod...]", POD)
    .addOption(selectorOption())
    .addHelpText("after", examples("trine inspect web", "trine inspect default/web | jq .machine"))
    .action(
      act(async (names: string[], flags: InspectFlags) => {
        const { inspectPods } = await import("../show/inspect.ts");
        await inspectPods(io, names, flags);
      }),
    );
  withOptions(trine.command("top"), listOptions())
    .description("what containers use now: processor, memory, writable layer")
    .argument("[pod...]", POD)
    .addOption(selectorOption())
    .addOption(namespaceOption())
    .addHelpText("after", examples("trine top", "trine top -l app=web -o json"))
    .action(
      act(async (names: string[], flags: TopFlags) => {
        const { showUsage } = await import("../show/top.ts");
        await showUsage(io, names, flags);
      }),
    );
  reasonCommands(trine, io, act);
}

function psCommand(trine: Command, io: Io, act: Act): void {
  withOptions(trine.command("ps"), listOptions())
    .description("list the pods on this node")
    .addOption(selectorOption())
    .addOption(namespaceOption())
    .option("-q, --quiet", "names only", false)
    .addHelpText(
      "after",
      examples("trine ps -l app=web", "trine ps -o json | jq '.items[].metadata.name'"),
    )
    .action(
      act(async (flags: PsFlags) => {
        const { listPods } = await import("../show/ps.ts");
        await listPods(io, flags);
      }),
    );
}

function logsCommand(trine: Command, io: Io, act: Act): void {
  trine
    .command("logs")
    .description("print what containers wrote; of a machine: its console")
    .argument("[pod...]", POD)
    .option("-f, --follow", "go on until they end, or ^C", false)
    .option("-c, --container <name>", "this one; default: the first that runs")
    .option("--all-containers", "all of them", false)
    .addOption(selectorOption())
    .option("--tail <lines>", "only the last ones", count)
    .option("--since <time>", "only what is not older", duration)
    .option("--timestamps", "with the time of each line", false)
    .option("-p, --previous", "of the container before the restart", false)
    .option("--prefix", "with the container's name before each line", false)
    .addHelpText("after", examples("trine logs -f web", "trine logs -l app=web --tail 20"))
    .action(
      act(async (names: string[], flags: LogsFlags) => {
        const { printLogs } = await import("../show/logs.ts");
        await printLogs(io, names, flags);
      }),
    );
}

function reasonCommands(trine: Command, io: Io, act: Act): void {
  withOptions(trine.command("events"), listOptions())
    .description("what happens to pods, from now until ^C")
    .option("--timeout <time>", "no longer than this", duration)
    .option("--since <time>", "failed starts of that time first", duration)
    .addHelpText("after", examples("trine events --since 1h", "trine events -o json --timeout 1m"))
    .action(
      act(async (flags: EventsFlags) => {
        const { followEvents } = await import("../show/events.ts");
        await followEvents(io, flags);
      }),
    );
  withOptions(trine.command("why"), listOptions())
    .description("why pods do not run, and what to do; exit code 1 when one does not")
    .argument("[pod...]", POD)
    .addOption(selectorOption())
    .addHelpText("after", examples("trine why web", "trine why -l app=web -o json"))
    .action(
      act(async (names: string[], flags: WhyFlags) => {
        const { explainPods } = await import("../show/why.ts");
        return explainPods(io, names, flags);
      }),
    );
}

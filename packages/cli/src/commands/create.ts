import { Argument, Option } from "commander";
import type { Command } from "commander";
import {
  POD,
  absolute,
  cgroupOption,
  claim,
  count,
  duration,
  examples,
  files,
  keyValue,
  podNamespace,
  progressOption,
  publish,
  quantity,
  selectorOption,
  startOptions,
  volume,
  withOptions,
  yesOption,
} from "./flag-values.ts";
import type { Act } from "./act.ts";
import type { Io } from "../io.ts";
import type { ConfirmFlags } from "../output/confirm.ts";
import type { CreateFlags } from "../pods/create-pods.ts";
import type { StartFlags, StopFlags, TargetFlags } from "../pods/lifecycle.ts";
import type { RunFlags } from "../pods/run-pod.ts";
import type { WaitFlags } from "../pods/wait-for.ts";

/** Verbs that make, start, stop and remove pods. */
export function createCommands(trine: Command, io: Io, act: Act): void {
  runCommand(trine, io, act);
  applyCommand(trine, io, act);
  startCommands(trine, io, act);
  stopCommands(trine, io, act);
  pauseCommands(trine, io, act);
  waitCommand(trine, io, act);
}

function runCommand(trine: Command, io: Io, act: Act): void {
  const command = trine
    .command("run")
    .description("start a pod of one container; -i, -t, --attach, --rm stay with it till its end")
    .argument("<image>", "image of the container, or of the machine")
    .argument("[command...]", "after --: instead of the image's own")
    .option("--name <name>", "the pod's name; default: made of the image's")
    .option("-n, --namespace <name>", "its namespace; default: default", podNamespace)
    .addOption(levelOption(io))
    .option("--runtime <handler>", "a handler of containerd's instead of a level")
    .option("-i, --stdin", "pass input on", false)
    .option("-t, --tty", "a terminal", false)
    .option("--attach", "show its output, answer its exit code", false)
    .option("--rm", "remove the pod at its end, or at ^C", false)
    .addOption(repeated("-e, --env <key=value>", "variable").argParser(keyValue).default({}))
    .addOption(repeated("--label <key=value>", "label").argParser(keyValue).default({}))
    .addOption(repeated("--annotation <key=value>", "annotation").argParser(keyValue).default({}))
    .addOption(repeated("-v, --volume <path:target[:ro]>", "mount").argParser(volume).default([]))
    .addOption(
      repeated("-p, --publish <[ip:]port:port>", "port of the node").argParser(publish).default([]),
    )
    .option("--memory <amount>", "limit, as in 256Mi", quantity)
    .option("--cpus <amount>", "limit, as in 500m or 2", quantity)
    .option("--user <uid>", "user the process runs as", count)
    .option("--workdir <path>", "directory the process starts in", absolute)
    .addOption(new Option("--pull <policy>", "when to pull the image").choices([...PULL]))
    .addOption(cgroupOption());
  withOptions(command, startOptions(io))
    .addHelpText(
      "after",
      examples(
        "trine run --rm -it busybox -- sh",
        "trine run localhost/debian:12 --level vm --name web --memory 1Gi",
      ),
    )
    .action(
      act(async (image: string, cmd: string[], flags: RunFlags) => {
        const { runPod } = await import("../pods/run-pod.ts");
        return runPod(io, image, cmd, flags);
      }),
    );
}

const PULL = ["Always", "IfNotPresent", "Never"] as const;

function levelOption({ config }: Io): Option {
  return new Option("--level <level>", "what isolates it")
    .choices(["container", "microvm", "vm"])
    .default(config.settings.level.value);
}

function repeated(flags: string, what: string): Option {
  return new Option(flags, `${what}, to be given several times`);
}

function applyCommand(trine: Command, io: Io, act: Act): void {
  const command = trine
    .command("apply")
    .description("start the pods of a file: v1 Pod, with the ConfigMaps and Secrets they use")
    .requiredOption("-f, --filename <file>", "YAML or JSON, - = input; may be repeated", files)
    .option("--pvc <claim=/directory>", "where a claim lies; may be repeated", claim, {})
    .option("--dry-run", "check, and say what would be started", false)
    .addOption(cgroupOption());
  withOptions(command, startOptions(io))
    .addHelpText(
      "after",
      examples("trine apply -f pod.yaml", "trine apply -f db.yaml --pvc data=/srv/db --timeout 5m"),
    )
    .action(
      act(async (flags: CreateFlags & { filename: readonly string[]; dryRun: boolean }) => {
        const { applyFiles } = await import("../pods/create-pods.ts");
        return applyFiles(io, flags);
      }),
    );
}

function pods(command: Command): Command {
  return command.addArgument(new Argument("[pod...]", POD)).addOption(selectorOption());
}

function startCommands(trine: Command, io: Io, act: Act): void {
  const start = pods(trine.command("start"))
    .description("start stopped pods, and what has ended in running ones")
    .addHelpText("after", examples("trine start web db", "trine start -l app=web --timeout 1m"))
    .action(
      act(async (names: string[], flags: StartFlags) => {
        const { startPods } = await import("../pods/lifecycle.ts");
        return startPods(io, names, flags);
      }),
    );
  const restart = pods(trine.command("restart"))
    .description("stop pods and start them anew; what is not in a volume is lost")
    .option("--grace <time>", "how long each may take to end", duration)
    .addHelpText("after", examples("trine restart web", "trine restart -l app=web --grace 5s"))
    .action(
      act(async (names: string[], flags: StartFlags & StopFlags) => {
        const { restartPods } = await import("../pods/lifecycle.ts");
        return restartPods(io, names, flags);
      }),
    );
  for (const command of [start, restart]) withOptions(command, startOptions(io));
}

function stopCommands(trine: Command, io: Io, act: Act): void {
  pods(trine.command("stop"))
    .description("end pods in order; `trine start` starts them again")
    .option("--grace <time>", "how long each may take; default: what the pod says", duration)
    .addHelpText("after", examples("trine stop web", "trine stop -l app=web --grace 5s"))
    .action(
      act(async (names: string[], flags: StopFlags) => {
        const { stopPods } = await import("../pods/lifecycle.ts");
        return stopPods(io, names, flags);
      }),
    );
  pods(trine.command("rm"))
    .description("end pods and remove them with their logs and volumes")
    .option("--grace <time>", "how long each may take; default: what the pod says", duration)
    .addOption(yesOption())
    .addHelpText("after", examples("trine rm web", "trine rm -l app=web --grace 0 --yes"))
    .action(
      act(async (names: string[], flags: StopFlags & ConfirmFlags) => {
        const { removePods } = await import("../pods/lifecycle.ts");
        return removePods(io, names, flags);
      }),
    );
}

function waitCommand(trine: Command, io: Io, act: Act): void {
  pods(trine.command("wait"))
    .description("wait until pods are in a state, whoever brings them there")
    .addOption(
      new Option("--for <condition>", "which state")
        .choices(["running", "exited", "stopped", "deleted"])
        .default("exited"),
    )
    .option("--timeout <time>", "no longer than this for all of them", duration)
    .addOption(progressOption(io))
    .addHelpText(
      "after",
      examples("trine wait job", "trine wait -l app=web --for deleted --timeout 1m"),
    )
    .action(
      act(async (names: string[], flags: WaitFlags) => {
        const { waitForPods } = await import("../pods/wait-for.ts");
        return waitForPods(io, names, flags);
      }),
    );
}

function pauseCommands(trine: Command, io: Io, act: Act): void {
  for (const [verb, what] of [
    ["pause", "stand pods still where they are"],
    ["resume", "let paused pods go on"],
  ] as const) {
    pods(trine.command(verb))
      .description(what)
      .addHelpText("after", examples(`trine ${verb} web`, `trine ${verb} -l app=web`))
      .action(
        act(async (names: string[], flags: TargetFlags) => {
          const { pausePods } = await import("../pods/lifecycle.ts");
          return pausePods(io, names, flags, verb);
        }),
      );
  }
}

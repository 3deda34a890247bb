import { Command, CommanderError } from "commander";
import { kindOf } from "@trine/base";
import type { Act } from "./commands/act.ts";
import { createCommands } from "./commands/create.ts";
import { guestCommands } from "./commands/guest.ts";
import { imageCommands } from "./commands/images.ts";
import { installCommands } from "./commands/install.ts";
import { lookCommands } from "./commands/look.ts";
import { configCommands } from "./commands/config.ts";
import { helpCommand } from "./commands/help.ts";
import { shellCommands } from "./commands/shell.ts";
import { talkCommands } from "./commands/talk.ts";
import { absolute, examples, withOptions } from "./commands/flag-values.ts";
import type { DoctorFlags } from "./node/doctor.ts";
import { listOptions } from "./output/output.ts";
import { EXIT_CODES } from "./io.ts";
import type { Io, Surroundings } from "./io.ts";
import { errorFormOf, reportError, usageError } from "./output/report-error.ts";
import { tellRequests } from "./output/tell-requests.ts";
import type { Verbosity } from "./output/tell-requests.ts";
import { VERSION } from "./version.ts";

const QEMU = "/usr/bin/qemu-system-x86_64";

interface Group {
  /** Commands that need no other group; whoever asks for another word gets all groups. */
  readonly words: readonly string[];
  readonly add: (trine: Command, io: Io, act: Act) => void;
}

/** To declare all commands takes as long as many of them run. */
const GROUPS: readonly Group[] = [
  {
    words: ["run", "apply", "start", "restart", "stop", "rm", "pause", "resume", "wait"],
    add: createCommands,
  },
  { words: ["ps", "logs", "inspect", "top", "events", "why"], add: lookCommands },
  { words: ["exec", "attach", "console", "cp", "port-forward", "vnc"], add: talkCommands },
  { words: ["doctor"], add: nodeCommands },
  { words: ["guest"], add: guestCommands },
  { words: ["image"], add: imageCommands },
  { words: ["config"], add: configCommands },
  { words: ["install", "uninstall"], add: installCommands },
  { words: ["diag", "completion"], add: shellCommands },
];

/** Runs one command line (without the program's name); answers the exit code. Writes errors to stderr. */
export async function runTrine(argv: readonly string[], given: Surroundings): Promise<number> {
  const verbosity = { level: 0 };
  const io = withManners(argv, given, verbosity);
  let outcome = 0 as number | "done"; // a command sets it
  const act: Act =
    (command) =>
    async (...args) => {
      if (io.config.failure !== undefined) throw io.config.failure;
      outcome = (await command(...args)) ?? 0;
    };
  try {
    await program(argv, io, act, verbosity).parseAsync(argv, { from: "user" });
    if (outcome === "done") return 0;
    return io.signal.aborted ? EXIT_CODES.canceled : outcome;
  } catch (cause) {
    // commander has written its own error, or the help that was asked for.
    if (cause instanceof CommanderError) {
      if (cause.exitCode === 0) return 0;
      if (io.errorForm !== "text") await reportError(io, usageError(cause.message));
      return EXIT_CODES.invalid;
    }
    await reportError(io, cause);
    return io.signal.aborted ? EXIT_CODES.canceled : EXIT_CODES[kindOf(cause)];
  }
}

/** Each command loads its code when it runs: a start should cost little more than Node itself. */
function program(argv: readonly string[], io: Io, act: Act, verbosity: Verbosity): Command {
  const trine = new Command("trine")
    .description("Containers, light VMs and whole machines as pods of one node.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(trine --help lists commands and flags)")
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // A program is told once, in the form it has asked for.
      writeErr: (text) => io.errorForm === "text" && io.stderr.write(text),
      outputError: (text, write) => {
        write(text.replace(/^error: /, "trine: "));
      },
    })
    .enablePositionalOptions();
  const first = argv.find((word) => !/^(-v+|--verbose)$/.test(word)) ?? "";
  const own = GROUPS.filter(({ words }) => words.includes(first));
  for (const { add } of own.length > 0 ? own : GROUPS) add(trine, io, act);
  if (own.length === 0) helpCommand(trine, io);
  addVerbosity(trine, verbosity);
  return trine;
}

/** Everywhere, before the command and after it; `run -v` is a volume. */
function addVerbosity(command: Command, verbosity: Verbosity): void {
  const isTaken = command.options.some(({ short }) => short === "-v");
  command.option(
    isTaken ? "--verbose" : "-v, --verbose",
    "show requests on stderr; twice: all of them",
  );
  command.on("option:verbose", () => {
    verbosity.level++;
  });
  for (const sub of command.commands) addVerbosity(sub, verbosity);
}

/** A getter's value is taken when it is wanted: to make stdin costs. */
function withManners(argv: readonly string[], given: Surroundings, verbosity: Verbosity): Io {
  const { stdout, stderr, stateDir, dataDir, containerd, config, signal } = given;
  return {
    get stdin() {
      return given.stdin;
    },
    ...{ stdout, stderr, stateDir, dataDir, containerd, config, signal },
    errorForm: errorFormOf(argv),
    onRequest: tellRequests({ stderr }, verbosity),
  };
}

function nodeCommands(trine: Command, io: Io, act: Act): void {
  withOptions(trine.command("doctor"), listOptions())
    .description("check this node and say how to fix what is wrong; exit code 1 when a check fails")
    .option("--containerd <socket>", "containerd's socket", absolute, io.containerd)
    .option("--qemu <path>", "QEMU's program", absolute, QEMU)
    .addHelpText(
      "after",
      examples("trine doctor", `trine doctor -o json | jq '.items[] | select(.status != "ok")'`),
    )
    .action(
      act(async (flags: DoctorFlags) => {
        const { doctor } = await import("./node/doctor.ts");
        return doctor(io, flags);
      }),
    );
}

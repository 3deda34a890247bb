import { Command, CommanderError } from "commander";
import { kindOf, messageOf } from "@trine/base";
import type { Act } from "./commands/act.ts";
import { createCommands } from "./commands/create.ts";
import { guestCommands } from "./commands/guest.ts";
import { imageCommands } from "./commands/images.ts";
import { lookCommands } from "./commands/look.ts";
import { shellCommands } from "./commands/shell.ts";
import { talkCommands } from "./commands/talk.ts";
import { absolute, examples, withOptions } from "./commands/flag-values.ts";
import type { DoctorFlags } from "./node/doctor.ts";
import { listOptions } from "./output/output.ts";
import { EXIT_CODES } from "./io.ts";
import type { Io } from "./io.ts";
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
    words: ["run", "apply", "start", "restart", "stop", "rm", "pause", "resume"],
    add: createCommands,
  },
  { words: ["ps", "logs", "inspect", "top", "events", "why"], add: lookCommands },
  { words: ["exec", "attach", "console", "cp", "port-forward", "vnc"], add: talkCommands },
  { words: ["doctor"], add: nodeCommands },
  { words: ["guest"], add: guestCommands },
  { words: ["image"], add: imageCommands },
  { words: ["diag", "completion"], add: shellCommands },
];

/** Runs one command line (without the program's name); answers the exit code. Writes errors to stderr. */
export async function runTrine(argv: readonly string[], io: Io): Promise<number> {
  let outcome = 0 as number | "done"; // a command sets it
  const act: Act =
    (command) =>
    async (...args) => {
      outcome = (await command(...args)) ?? 0;
    };
  try {
    await program(argv, io, act).parseAsync(argv, { from: "user" });
    if (outcome === "done") return 0;
    return io.signal.aborted ? EXIT_CODES.canceled : outcome;
  } catch (cause) {
    // commander has written its own error, or the help that was asked for.
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : EXIT_CODES.invalid;
    io.stderr.write(`trine: ${messageOf(cause)}\n`);
    return io.signal.aborted ? EXIT_CODES.canceled : EXIT_CODES[kindOf(cause)];
  }
}

/** Each command loads its code when it runs: a start should cost little more than Node itself. */
function program(argv: readonly string[], io: Io, act: Act): Command {
  const trine = new Command("trine")
    .description("Containers, light VMs and whole machines as pods of one node.")
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError("(trine --help lists commands and flags)")
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      outputError: (text, write) => {
        write(text.replace(/^error: /, "trine: "));
      },
    });
  const [first = ""] = argv;
  const own = GROUPS.filter(({ words }) => words.includes(first));
  for (const { add } of own.length > 0 ? own : GROUPS) add(trine, io, act);
  return trine;
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

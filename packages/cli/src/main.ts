import { Command, CommanderError } from "commander";
import { kindOf, messageOf } from "@trine/base";
import { consoleCommand } from "./console.ts";
import { doctorCommand } from "./doctor.ts";
import { imageCommand } from "./image.ts";
import { inspectCommand } from "./inspect.ts";
import { EXIT_CODES } from "./io.ts";
import type { Io } from "./io.ts";
import { psCommand } from "./ps.ts";

const DEFAULT_STATE_DIR = "/run/trine";

async function main(): Promise<number> {
  const abort = new AbortController();
  process.once("SIGINT", () => {
    abort.abort();
  });
  const io: Io = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    stateDir: process.env["TRINE_STATE"] ?? DEFAULT_STATE_DIR,
    signal: abort.signal,
  };
  const program = new Command("trine")
    .description("containers, light VMs and machines on one node")
    .exitOverride()
    .addCommand(psCommand(io))
    .addCommand(inspectCommand(io))
    .addCommand(consoleCommand(io))
    .addCommand(imageCommand(io))
    .addCommand(doctorCommand(io));
  for (const command of program.commands) command.exitOverride();
  try {
    await program.parseAsync(process.argv);
    return abort.signal.aborted ? EXIT_CODES.canceled : Number(process.exitCode ?? 0);
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : EXIT_CODES.invalid;
    process.stderr.write(`trine: ${messageOf(cause)}\n`);
    return abort.signal.aborted ? EXIT_CODES.canceled : EXIT_CODES[kindOf(cause)];
  }
}

process.exitCode = await main();

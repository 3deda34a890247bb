import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { kindOf, messageOf } from "@trine/base";
import { guestCommands } from "./commands-guest.ts";
import { EXIT_CODES } from "./io.ts";
import type { Io } from "./io.ts";
import { VERSION } from "./version.ts";

const CONTAINERD = "/run/containerd/containerd.sock";
const QEMU = "/usr/bin/qemu-system-x86_64";

/** What a command came to; nothing = 0. */
type Outcome = Promise<number | undefined> | Promise<void>;
type Act = <A extends unknown[]>(command: (...args: A) => Outcome) => (...args: A) => Promise<void>;

/** Runs one command line (without the program's name); answers the exit code. Writes errors to stderr. */
export async function runTrine(argv: readonly string[], io: Io): Promise<number> {
  let code = 0;
  const act: Act =
    (command) =>
    async (...args) => {
      code = (await command(...args)) ?? 0;
    };
  try {
    await program(io, act).parseAsync(argv, { from: "user" });
    return io.signal.aborted ? EXIT_CODES.canceled : code;
  } catch (cause) {
    // commander has written its own error, or the help that was asked for.
    if (cause instanceof CommanderError) return cause.exitCode === 0 ? 0 : EXIT_CODES.invalid;
    io.stderr.write(`trine: ${messageOf(cause)}\n`);
    return io.signal.aborted ? EXIT_CODES.canceled : EXIT_CODES[kindOf(cause)];
  }
}

/** Each command loads its code when it runs: a start should cost little more than Node itself. */
function program(io: Io, act: Act): Command {
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
  podCommands(trine, io, act);
  nodeCommands(trine, io, act);
  guestCommands(trine, io, act);
  return trine;
}

function podCommands(trine: Command, io: Io, act: Act): void {
  trine
    .command("ps")
    .description("list the pods with machines on this node")
    .addOption(outputOption())
    .addHelpText("after", examples("trine ps", "trine ps -o json | jq '.items[].name'"))
    .action(
      act(async (flags: { output: "table" | "json" }) => {
        const { listPods } = await import("./ps.ts");
        await listPods(io, flags);
      }),
    );
  trine
    .command("inspect")
    .description("print all that the node knows of a pod, as JSON")
    .argument("<pod>", POD)
    .addHelpText("after", examples("trine inspect web", "trine inspect default/web | jq .machine"))
    .action(
      act(async (pod: string) => {
        const { inspectPod } = await import("./inspect.ts");
        await inspectPod(io, pod);
      }),
    );
  trine
    .command("console")
    .description("attach to a machine's console; ^] leaves, and so does the end of piped input")
    .argument("<pod>", POD)
    .option("-r, --read-only", "watch only; ^C leaves", false)
    .addHelpText("after", examples("trine console web", "echo reboot | trine console default/web"))
    .action(
      act(async (pod: string, flags: { readOnly: boolean }) => {
        const { attachConsole } = await import("./console.ts");
        await attachConsole(io, pod, flags);
      }),
    );
}

function nodeCommands(trine: Command, io: Io, act: Act): void {
  trine
    .command("image")
    .description("machine images")
    .command("import")
    .description("make a QCOW2 or raw disk an image of containerd's store")
    .argument("<file>", "QCOW2 or raw disk image")
    .option("--name <name>", "REGISTRY/PATH[:TAG]; default: localhost/FILE:latest")
    .option("--containerd <socket>", "containerd's socket", absolute, CONTAINERD)
    .option("--namespace <name>", "containerd's namespace", namespace, "k8s.io")
    .addHelpText(
      "after",
      examples(
        "trine image import debian-12.qcow2",
        "trine image import appliance.raw --name localhost/appliance:1.2",
      ),
    )
    .action(
      act(async (file: string, flags: ImportFlags) => {
        const { importDisk } = await import("./image-import.ts");
        await importDisk(io, file, flags);
      }),
    );
  trine
    .command("doctor")
    .description("check this node and say how to fix what is wrong; exit code 1 when a check fails")
    .addOption(outputOption())
    .option("--containerd <socket>", "containerd's socket", absolute, CONTAINERD)
    .option("--qemu <path>", "QEMU's program", absolute, QEMU)
    .addHelpText(
      "after",
      examples("trine doctor", `trine doctor -o json | jq '.items[] | select(.status != "ok")'`),
    )
    .action(
      act(async (flags: { output: "table" | "json"; containerd: string; qemu: string }) => {
        const { doctor } = await import("./doctor.ts");
        return doctor(io, flags);
      }),
    );
}

interface ImportFlags {
  name?: string;
  containerd: string;
  namespace: string;
}

const POD = "NAME, NAMESPACE/NAME, or the start of a sandbox or container id";

function outputOption(): Option {
  return new Option("-o, --output <format>", "form of the output")
    .choices(["table", "json"])
    .default("table");
}

function absolute(path: string): string {
  if (path.startsWith("/")) return path;
  throw new InvalidArgumentError("An absolute path is wanted.");
}

function namespace(name: string): string {
  if (/^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(name) && name.length <= 76) return name;
  throw new InvalidArgumentError("Letters, digits and single . _ - are wanted.");
}

function examples(...lines: readonly string[]): string {
  return ["", "Examples:", ...lines.map((line) => `  ${line}`)].join("\n");
}

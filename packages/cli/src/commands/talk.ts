import type { Command } from "commander";
import { TrineError } from "@trine/base";
import type { ConsoleFlags } from "../talk/console.ts";
import type { ExecFlags } from "../talk/exec.ts";
import type { VncFlags } from "../talk/vnc.ts";
import { POD, examples, portNumber } from "./flag-values.ts";
import type { Act } from "./act.ts";
import type { Io } from "../io.ts";

/** Verbs that talk to what runs in a pod. */
export function talkCommands(trine: Command, io: Io, act: Act): void {
  execCommands(trine, io, act);
  trine
    .command("console")
    .description("attach to a machine's console; ^] leaves, and so does the end of piped input")
    .argument("<pod>", POD)
    .option("-r, --read-only", "watch only; ^C leaves", false)
    .option("--take-over", "write, also when another does; that one watches from then on", false)
    .option("--record <file>", "write what is shown into a new file too")
    .option("--once", "leave with the machine's end, do not wait for its next start", false)
    .addHelpText("after", examples("trine console web", "echo reboot | trine console default/web"))
    .action(
      act(async (pod: string, flags: ConsoleFlags) => {
        const { attachConsole } = await import("../talk/console.ts");
        await attachConsole(io, pod, flags);
      }),
    );
  vncCommand(trine, io, act);
  trine
    .command("cp")
    .description("copy a file or a directory into a pod or out of it; needs tar there")
    .argument("<from>", "PATH, or POD:PATH")
    .argument("<to>", "PATH, or POD:PATH; an existing directory: into it")
    .option("-c, --container <name>", "this one; default: the first that runs")
    .addHelpText("after", examples("trine cp site.conf web:/etc/", "trine cp web:/var/log ./logs"))
    .action(
      act(async (from: string, to: string, flags: { container?: string }) => {
        const { copyFiles, parsePlace } = await import("../talk/copy-files.ts");
        await copyFiles(io, parsePlace(from), parsePlace(to), flags);
      }),
    );
  trine
    .command("port-forward")
    .description("make ports of a pod reachable here until ^C")
    .argument("<pod>", POD)
    .argument("<port...>", "PORT, LOCAL:PORT, or :PORT for any that is free")
    .option("--address <ip>", "where to listen", "127.0.0.1")
    .addHelpText(
      "after",
      examples("trine port-forward web 8080:80", "trine port-forward db :5432 --address 10.0.0.1"),
    )
    .action(
      act(async (pod: string, ports: string[], flags: { address: string }) => {
        const { forwardPorts, parsePortPair } = await import("../talk/port-forward.ts");
        const pairs = ports.map((text) => {
          const pair = parsePortPair(text);
          if (pair === undefined) throw new TrineError("invalid", `${text}: a port is wanted`);
          return pair;
        });
        await forwardPorts(io, pod, pairs, flags);
      }),
    );
}

function vncCommand(trine: Command, io: Io, act: Act): void {
  trine
    .command("vnc")
    .description("show a machine's display: in a viewer where there is one, else on a port here")
    .argument("<pod>", POD)
    .option("--port <number>", "port to listen on, 0 = any", portNumber, 0)
    .option("--address <ip>", "where to listen: whoever reaches it sees and types", "127.0.0.1")
    .option("--no-viewer", "print the address, open no viewer")
    .option("--screenshot <file>", "a picture of it as PNG instead; - = output")
    .addHelpText("after", examples("trine vnc web", "trine vnc web --screenshot web.png"))
    .action(
      act(async (pod: string, flags: VncFlags) => {
        const { showDisplay } = await import("../talk/vnc.ts");
        await showDisplay(io, pod, flags);
      }),
    );
}

function execCommands(trine: Command, io: Io, act: Act): void {
  const withStreams = (command: Command): Command =>
    command
      .option("-c, --container <name>", "this one; default: the first that runs")
      .option("-i, --stdin", "pass input on", false)
      .option("-t, --tty", "a terminal", false);
  withStreams(
    trine
      .command("exec")
      .description("run a command in a pod; answers its exit code")
      .argument("<pod>", POD)
      .argument("[command...]", "after --"),
  )
    .addHelpText("after", examples("trine exec -it web -- sh", "trine exec web -- cat /etc/hosts"))
    .action(
      act(async (pod: string, cmd: string[], flags: ExecFlags) => {
        const { execInPod } = await import("../talk/exec.ts");
        return execInPod(io, pod, cmd, flags);
      }),
    );
  withStreams(
    trine
      .command("attach")
      .description("join a container's output, and with -i its input; ^C leaves without -t")
      .argument("<pod>", POD),
  )
    .addHelpText("after", examples("trine attach web", "trine attach -it default/shell"))
    .action(
      act(async (pod: string, flags: ExecFlags) => {
        const { attachToPod } = await import("../talk/exec.ts");
        return attachToPod(io, pod, flags);
      }),
    );
}

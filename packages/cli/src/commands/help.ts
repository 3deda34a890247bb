import type { Command } from "commander";
import { TrineError, quote } from "@trine/base";
import type { Io } from "../io.ts";
import { examples } from "./flag-values.ts";

/** `trine help`: commander's own knows commands only. */
export function helpCommand(trine: Command, io: Io): void {
  trine.helpCommand(false);
  const help = trine
    .command("help")
    .description("explain a command, or a topic: concepts")
    .argument("[command...]", "as it is typed: image import")
    .addHelpText("after", examples("trine help run", "trine help concepts"))
    .action((words: string[]) => {
      let command = trine;
      for (const word of words) {
        const next = command.commands.find((each) => each.name() === word);
        if (next === undefined) {
          throw new TrineError("invalid", `no help on ${quote(word)}; trine --help lists commands`);
        }
        command = next;
      }
      command.outputHelp();
    });
  help.helpCommand(false);
  help
    .command("concepts")
    .description("what pods, levels, machines, images, names and settings are here")
    .addHelpText("after", examples("trine help concepts", "man trine-help-concepts"))
    .action(
      // Also where the configuration file is refused: this text needs none.
      async () => {
        const { conceptsText } = await import("../shell/concepts.ts");
        io.stdout.write(conceptsText());
      },
    );
}

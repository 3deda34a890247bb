import type { Command } from "commander";
import type { Io } from "../io.ts";
import { listOptions } from "../output/output.ts";
import type { ListFlags } from "../output/print-list.ts";
import type { Act } from "./act.ts";
import { examples, withOptions } from "./flag-values.ts";

/** Verbs of this program's own configuration. */
export function configCommands(trine: Command, io: Io, act: Act): void {
  const config = trine.command("config").description("this program's own settings");
  withOptions(config.command("view"), listOptions())
    .description("print what holds where no flag says otherwise; it is checked first")
    .option("--show-origin", "with who said so: a variable, the file, nobody", false)
    .addHelpText(
      "after",
      examples("trine config view --show-origin", "trine config view -o json | jq '.items[]'"),
    )
    .action(
      act(async (flags: ListFlags & { showOrigin: boolean }) => {
        const { viewConfig } = await import("../config/view-config.ts");
        await viewConfig(io, flags);
      }),
    );
  config
    .command("path")
    .description("print which file is read, whether it is there or not")
    .addHelpText("after", examples("trine config path", "vi $(trine config path)"))
    .action(() => {
      // Also where the file is refused: by this it is found.
      io.stdout.write(`${io.config.file}\n`);
    });
}

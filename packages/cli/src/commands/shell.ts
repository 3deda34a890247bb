import { Argument } from "commander";
import type { Command } from "commander";
import type { Io } from "../io.ts";
import type { Act } from "./act.ts";
import type { DiagFlags } from "../diag/diag.ts";
import { POD, examples } from "./flag-values.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** What shells and `make install` ask of the program itself. */
export function shellCommands(trine: Command, io: Io, act: Act): void {
  diagCommand(trine, io, act);
  trine
    .command("completion")
    .description("print a shell's script that completes commands, flags and names")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText(
      "after",
      examples(
        "source <(trine completion bash)",
        "trine completion fish > ~/.config/fish/completions/trine.fish",
      ),
    )
    .action(
      act(async (shell: (typeof SHELLS)[number]) => {
        const { completionScript } = await import("../shell/completion-script.ts");
        io.stdout.write(completionScript(shell));
      }),
    );
  trine
    .command("__complete", { hidden: true })
    .argument("[word...]", "the words so far, after --; the last is being typed")
    .action(
      act(async (words: string[]) => {
        const { complete } = await import("../shell/complete.ts");
        io.stdout.write(await complete(io, trine, words));
      }),
    );
  trine
    .command("__man", { hidden: true })
    .argument("<dir>", "where the pages are to lie")
    .action(
      act(async (dir: string) => {
        const { writeManPages } = await import("../shell/man-pages.ts");
        await writeManPages(trine, dir);
      }),
    );
}

function diagCommand(trine: Command, io: Io, act: Act): void {
  trine
    .command("diag")
    .description("collect what somebody who is to help needs, without secrets, in one file")
    .argument("[pod]", POD)
    .option("--node", "of the whole node", false)
    .option("--file <path>", "where to write it; default: trine-diag-NAME-TIME.tar.gz here")
    .addHelpText("after", examples("trine diag web", "trine diag --node --file /tmp/node.tar.gz"))
    .action(
      act(async (pod: string | undefined, flags: DiagFlags) => {
        const { collectDiag } = await import("../diag/diag.ts");
        await collectDiag(io, pod, flags);
      }),
    );
}

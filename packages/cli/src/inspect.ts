import { Command } from "commander";
import type { Io } from "./io.ts";
import { NodeClient } from "./node-client.ts";

export function inspectCommand(io: Io): Command {
  return new Command("inspect")
    .description("print all that the node knows of a pod, as JSON")
    .argument("<pod>", "NAME, NAMESPACE/NAME or the start of an id")
    .addHelpText(
      "after",
      "\nExamples:\n  trine inspect web\n  trine inspect default/web | jq .machine",
    )
    .action(async (name: string) => {
      const pod = await new NodeClient(io.stateDir).pod(name);
      io.stdout.write(`${JSON.stringify(pod, null, 2)}\n`);
    });
}

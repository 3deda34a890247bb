import { parseArgs } from "node:util";
import { messageOf } from "@trine/base";
import { stringify } from "yaml";
import { loadConfig } from "./config.ts";
import { runDaemon } from "./daemon.ts";

const USAGE = `trined: the node daemon of Trine

  trined [--config FILE]                run
  trined config check [--config FILE]   check the file and say what is wrong
  trined config print [--config FILE]   the whole configuration, defaults filled in
`;

async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { config: { type: "string" }, help: { type: "boolean", short: "h" } },
    allowPositionals: true,
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return 0;
  }
  const words = positionals.join(" ");
  switch (words) {
    case "":
      return runDaemon(await loadConfig(values.config));
    case "config check":
      await loadConfig(values.config);
      process.stdout.write("ok\n");
      return 0;
    case "config print":
      process.stdout.write(stringify(await loadConfig(values.config)));
      return 0;
    default:
      process.stderr.write(`trined: unknown command: ${words}\n\n${USAGE}`);
      return 2;
  }
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (cause: unknown) => {
    process.stderr.write(`trined: ${messageOf(cause)}\n`);
    process.exitCode = 1;
  },
);

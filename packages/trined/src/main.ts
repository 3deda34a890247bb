import { parseArgs } from "node:util";
import { kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import type { Config } from "./config.ts";
import { VERSION } from "./version.ts";

const USAGE = `trined: the node daemon of Trine

  trined [--config FILE]                run
  trined config check [--config FILE]   check the file and say what is wrong
  trined config print [--config FILE]   the whole configuration, defaults filled in
  trined --version

Without --config: /etc/trine/config.yaml, and the defaults where there is none.
Exit codes: 0 done, 1 failed, 2 bad usage or configuration.
`;

/** What a person has to change before another start can go better. */
const BAD_INPUT: readonly ErrorKind[] = ["invalid", "malformed", "notFound"];

function usage(why: string): number {
  process.stderr.write(`trined: ${why}\n\n${USAGE}`);
  return 2;
}

async function main(argv: readonly string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...argv],
      options: {
        config: { type: "string" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean" },
      },
      allowPositionals: true,
    });
  } catch (cause) {
    return usage(messageOf(cause));
  }
  const { values, positionals } = parsed;
  if (values.help === true || values.version === true) {
    process.stdout.write(values.help === true ? USAGE : `${VERSION}\n`);
    return 0;
  }
  const words = positionals.join(" ");
  if (words === "import-image") {
    const { importImage } = await import("./url-images/import-image.ts"); // trined itself, for its gateway
    return importImage();
  }
  const [word, order = ""] = positionals;
  if (word === "import-volume") {
    const { importVolume } = await import("./volume-import/import-volume.ts"); // in a pod's container
    return importVolume(order);
  }
  if (!["", "config check", "config print"].includes(words)) return usage(`no command: ${words}`);
  // An import has none of this to load before it begins.
  const [{ loadConfig }, { runDaemon }, { printConfig }] = await Promise.all([
    import("./config.ts"),
    import("./daemon.ts"),
    import("./print-config.ts"),
  ]);
  try {
    const config = await loadConfig(values.config);
    if (words === "") return await runDaemon(config);
    process.stdout.write(words === "config print" ? printConfig(config) : await checked(config));
    return 0;
  } catch (cause) {
    process.stderr.write(`trined: ${messageOf(cause)}\n`);
    return BAD_INPUT.includes(kindOf(cause)) ? 2 : 1;
  }
}

/** What a good configuration comes to: of the gateway's rules where they lead. */
async function checked({ gateway }: Config): Promise<string> {
  if (gateway.backEnds.length === 0) return "ok\n";
  const { explainRules } = await import("@trine/cri-gateway");
  const { lines, warnings } = explainRules(gateway);
  const said = [`gateway at ${gateway.socket}:`, ...lines.map((line) => `  ${line}`)];
  return ["ok", ...said, ...warnings.map((each) => `warning: gateway.${each}`), ""].join("\n");
}

process.exitCode = await main(process.argv.slice(2));

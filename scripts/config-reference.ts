import { CONFIG_VERSION, DEFAULT_CONFIG_PATH, configFields } from "../packages/trined/src/index.ts";

/** docs/reference/config.md: every field of the schema with its default and the reason. */
export function configReference(): string {
  return `${[
    "# Configuration of trined",
    "",
    "Written by `scripts/docs.ts` from the schema in `packages/trined`; do not edit.",
    "",
    `One YAML file, \`${DEFAULT_CONFIG_PATH}\` unless \`--config\` names another; without it all defaults hold. The only field it`,
    `must have is \`apiVersion: ${CONFIG_VERSION}\`. Unknown fields and wrong values are refused, each with its name and`,
    "what is wanted. `trined config check` checks a file, `trined config print` shows what holds. A change takes a restart of",
    "trined; machines run on.",
    "",
    "| Field | Value | Default | Why |",
    "|---|---|---|---|",
    ...configFields().map(
      (field) => `| \`${field.path}\` | ${field.values} | \`${field.default}\` | ${field.why} |`,
    ),
    "",
    "`trine` does not read this file: it has [settings of its own](cli.md#trine). trined's `stateDir` is its setting `state`, or the environment variable",
    "`TRINE_STATE`; by default `/run/trine`.",
  ].join("\n")}\n`;
}

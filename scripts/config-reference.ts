import * as v from "valibot";
import { CONFIG_VERSION, ConfigSchema, DEFAULT_CONFIG_PATH } from "../packages/trined/src/index.ts";

/** What is read of a schema: nested objects have entries, optional ones wrap another and have a default. */
interface Node {
  readonly type: string;
  readonly entries?: Readonly<Record<string, Node>>;
  readonly wrapped?: Node;
  readonly default?: unknown;
}

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
    ...rows("", ConfigSchema),
    "",
    "`trine` reads no file: it takes trined's `stateDir` from the environment variable `TRINE_STATE`, by default `/run/trine`.",
  ].join("\n")}\n`;
}

function rows(prefix: string, schema: Node): string[] {
  return Object.entries(schema.entries ?? {}).flatMap(([name, field]) => {
    const inner = field.wrapped ?? field;
    const path = `${prefix}${name}`;
    if (inner.entries !== undefined) return rows(`${path}.`, inner);
    if (name === "apiVersion") return [];
    const meta = inner as unknown as v.GenericSchema;
    const [values, why] = [v.getTitle(meta), v.getDescription(meta)];
    if (values === undefined || why === undefined) {
      throw new Error(`config field ${path} has no title or no description`);
    }
    return [`| \`${path}\` | ${values} | \`${String(field.default)}\` | ${why} |`];
  });
}

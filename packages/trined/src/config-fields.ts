import * as v from "valibot";
import { TrineError } from "@trine/base";
import { ConfigSchema } from "./config.ts";

/** One field of the configuration, for its reference page. */
export interface ConfigField {
  /** With dots: machines.qemu. */
  readonly path: string;
  /** Its values, in words. */
  readonly values: string;
  readonly default: string;
  readonly why: string;
}

/** What is read of a schema: nested objects have entries, optional ones wrap another and have a default. */
interface Node {
  readonly entries?: Readonly<Record<string, Node>>;
  readonly wrapped?: Node;
  readonly default?: unknown;
}

/** Every field that has a default, in the order of the schema. */
export function configFields(): ConfigField[] {
  return fieldsOf("", ConfigSchema as unknown as Node);
}

function fieldsOf(prefix: string, schema: Node): ConfigField[] {
  return Object.entries(schema.entries ?? {}).flatMap(([name, field]) => {
    if (field.wrapped === undefined) return []; // the version: it has no default
    const path = `${prefix}${name}`;
    if (field.wrapped.entries !== undefined) return fieldsOf(`${path}.`, field.wrapped);
    const schema = field.wrapped as unknown as v.GenericSchema;
    const [values, why] = [v.getTitle(schema), v.getDescription(schema)];
    if (values === undefined || why === undefined) {
      throw new TrineError("internal", `config field ${path} has no title or no description`);
    }
    return [{ path, values, default: String(field.default), why }];
  });
}

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";

const SCHEMAS = join(import.meta.dirname, "../../../../docs/schemas");
const ajv = new Ajv({ allErrors: true });

/** Parses what was printed; throws with every difference unless docs/schemas/NAME.json describes it. */
export function parseAs(name: string, printed: string): unknown {
  const value: unknown = JSON.parse(printed);
  const isValid = ajv.getSchema(name) ?? ajv.compile(readSchema(name));
  if (isValid(value) === true) return value;
  throw new Error(`not as docs/schemas/${name}.json says: ${ajv.errorsText(isValid.errors)}`);
}

function readSchema(name: string): object {
  const text = readFileSync(join(SCHEMAS, `${name}.json`), "utf8");
  return { $id: name, ...(JSON.parse(text) as object) };
}

import { InvalidArgumentError, Option } from "commander";
import { messageOf } from "@trine/base";
import { compileJsonpath } from "./jsonpath.ts";

export type Output =
  | { readonly form: "table" | "wide" | "json" | "yaml" | "name" }
  | { readonly form: "jsonpath"; readonly render: (value: unknown) => string };

const FORMS = ["table", "wide", "json", "yaml", "name"] as const;
const TABLE: Output = { form: "table" };

/** `-o` with every form that the command can give. */
export function outputOption(...forms: readonly (typeof FORMS)[number][]): Option {
  const wanted = forms.length === 0 ? FORMS : forms;
  const named = [...wanted, "jsonpath="].join(", ");
  return new Option("-o, --output <format>", `form of the output: ${named}TEMPLATE`)
    .argParser((text: string): Output => {
      const form = wanted.find((each) => each === text);
      if (form !== undefined) return { form };
      if (!text.startsWith("jsonpath=")) {
        throw new InvalidArgumentError(`Allowed are ${named}TEMPLATE.`);
      }
      try {
        return { form: "jsonpath", render: compileJsonpath(text.slice("jsonpath=".length)) };
      } catch (cause) {
        throw new InvalidArgumentError(messageOf(cause));
      }
    })
    .default(TABLE, "table");
}

/** An object in one of the forms a program reads; undefined for the forms a person reads. */
export async function machineReadable(output: Output, value: unknown): Promise<string | undefined> {
  switch (output.form) {
    case "json":
      return `${JSON.stringify(value, null, 2)}\n`;
    case "yaml": {
      const { toYaml } = await import("./to-yaml.ts");
      return toYaml(value);
    }
    case "jsonpath":
      return `${output.render(value)}\n`;
    case "table":
    case "wide":
    case "name":
      return undefined;
  }
}

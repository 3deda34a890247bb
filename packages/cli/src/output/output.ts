import { InvalidArgumentError, Option } from "commander";
import { messageOf } from "@trine/base";
import { compileJsonpath } from "./jsonpath.ts";

export type Output =
  | { readonly form: (typeof FORMS)[number] }
  | { readonly form: "jsonpath"; readonly render: (value: unknown) => string };

const FORMS = ["table", "wide", "json", "yaml", "name", "csv"] as const;
const MAX_COLUMNS = 64;

/** `--columns`, for those forms that have any. */
function columnsOption(): Option {
  return new Option("--columns <names>", "these only, by their titles: pod,status").argParser(
    (text: string): readonly string[] => {
      const names = text.split(",").map((name) => name.trim().toUpperCase());
      if (names.length <= MAX_COLUMNS && !names.includes("")) return names;
      throw new InvalidArgumentError("Titles with commas between are wanted.");
    },
  );
}

/** `--no-headers`. */
function headersOption(): Option {
  return new Option("--no-headers", "without the line of titles");
}

/** What every command has that shows things: `-o`, `--columns` and `--no-headers`. */
export function listOptions(usual: (typeof FORMS)[number] = "table"): Option[] {
  return [outputOption(usual), columnsOption(), headersOption()];
}

function outputOption(usual: (typeof FORMS)[number]): Option {
  const named = [...FORMS, "jsonpath="].join(", ");
  return new Option("-o, --output <format>", `form of the output: ${named}TEMPLATE`)
    .argParser((text: string): Output => {
      const form = FORMS.find((each) => each === text);
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
    .default({ form: usual }, usual);
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
    case "csv":
      return undefined;
  }
}

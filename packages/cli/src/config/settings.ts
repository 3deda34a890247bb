import { TrineError, quote } from "@trine/base";

export const CONFIG_VERSION = "cli.trine.dev/v1alpha1";

/** What a file or a variable may set: its variable, its value where nobody says, and what it has to look like. */
interface Field {
  readonly variable: string;
  readonly usual: string;
  /** Undefined: any path that is absolute. */
  readonly choices?: readonly string[];
  readonly pattern?: RegExp;
  readonly wanted: string;
}

const PATH = { pattern: /^\/[^\0]{0,4094}$/, wanted: "an absolute path" };

function oneOf(...choices: readonly string[]): Pick<Field, "choices" | "wanted"> {
  return { choices, wanted: `one of ${choices.join(", ")}` };
}

export const FIELDS = {
  containerd: {
    variable: "TRINE_CONTAINERD",
    usual: "/run/containerd/containerd.sock",
    // A socket's path holds 107.
    ...{ pattern: /^\/[^\0]{0,106}$/, wanted: "an absolute path of at most 107 characters" },
  },
  state: { variable: "TRINE_STATE", usual: "/run/trine", ...PATH },
  data: { variable: "TRINE_DATA", usual: "/var/lib/trine/by-hand", ...PATH },
  authFile: {
    variable: "TRINE_AUTH_FILE",
    usual: "",
    ...{ pattern: /^[^\0]{0,4095}$/, wanted: "a file's name" },
  },
  level: {
    variable: "TRINE_LEVEL",
    usual: "container",
    ...oneOf("container", "microvm", "vm"),
  },
  snapshotter: {
    variable: "TRINE_SNAPSHOTTER",
    usual: "overlayfs",
    ...{ pattern: /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/, wanted: "letters, digits and . _ -" },
  },
  progress: {
    variable: "TRINE_PROGRESS",
    usual: "auto",
    ...oneOf("auto", "plain", "json", "none"),
  },
  confirm: { variable: "TRINE_CONFIRM", usual: "terminal", ...oneOf("terminal", "never") },
} as const satisfies Readonly<Record<string, Field>>;

export type SettingName = keyof typeof FIELDS;

export const SETTING_NAMES = Object.keys(FIELDS) as SettingName[];

export type Values = Readonly<Partial<Record<SettingName, string>>>;

/** Why a value is refused; undefined: it is taken. */
export function problemOf(name: SettingName, value: unknown): string | undefined {
  const { choices, pattern, wanted }: Field = FIELDS[name];
  const shown = typeof value === "string" ? quote(value.slice(0, 200)) : `a ${typeof value}`;
  const fits =
    typeof value === "string" &&
    (choices?.includes(value) ?? true) &&
    (pattern?.test(value) ?? true);
  return fits ? undefined : `${wanted} is wanted, not ${shown}`;
}

/** What a file says, of its parsed YAML; kind `invalid` with each field that is unknown or wrong. */
export function checkFile(content: unknown, file: string): Values {
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new TrineError("invalid", `configuration ${quote(file)}: fields with values are wanted`);
  }
  const { apiVersion, ...fields } = content as Readonly<Record<string, unknown>>;
  const problems = apiVersion === CONFIG_VERSION ? [] : [`apiVersion: ${CONFIG_VERSION} is wanted`];
  for (const [name, value] of Object.entries(fields)) {
    const known = SETTING_NAMES.find((each) => each === name);
    const problem =
      known === undefined
        ? `there is no such field; there are ${SETTING_NAMES.join(", ")}`
        : problemOf(known, value);
    if (problem !== undefined)
      problems.push(`${quote(name.slice(0, 64)).slice(1, -1)}: ${problem}`);
  }
  if (problems.length === 0) return fields;
  const shown = problems.slice(0, MAX_TOLD).join("; ");
  throw new TrineError("invalid", `configuration ${quote(file)}: ${shown}`);
}

const MAX_TOLD = 10;

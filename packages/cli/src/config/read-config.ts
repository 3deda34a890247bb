import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TrineError, errnoOf, kindOf, messageOf, quote } from "@trine/base";
import { FIELDS, SETTING_NAMES, checkFile, problemOf } from "./settings.ts";
import type { SettingName, Values } from "./settings.ts";

const MAX_FILE_BYTES = 64 * 1024;
/** Others' right to write: whoever has it says which socket root talks to. */
const WRITABLE = 0o022;

type Environment = Readonly<Record<string, string | undefined>>;

export interface Setting {
  readonly name: SettingName;
  readonly value: string;
  /** Who said so: a variable's name, the file's, `default`. */
  readonly origin: string;
}

/** What holds where no flag says otherwise. */
export interface Config {
  /** The file that is looked at, whether it is there or not. */
  readonly file: string;
  readonly settings: Readonly<Record<SettingName, Setting>>;
  /** Why the file or a variable is refused: every command but the one that prints the file's name ends with it. */
  readonly failure?: TrineError;
}

/** The defaults alone, as where neither a file nor a variable says anything. */
export function defaultConfig(): Config {
  return { file: "", settings: settingsOf({}, {}, "") };
}

/** Variables rule over the file. Never rejects: help and `config path` are there whatever the file says. */
export async function readConfig(environment: Environment): Promise<Config> {
  const file = configPath(environment);
  try {
    const values = await readValues(file, isNamed(environment));
    return { file, settings: settingsOf(environment, values, file) };
  } catch (cause) {
    const failure =
      cause instanceof TrineError
        ? cause
        : TrineError.during(`configuration ${quote(file)}`, cause);
    return { ...defaultConfig(), file, failure };
  }
}

function isNamed({ TRINE_CONFIG: named = "" }: Environment): boolean {
  return named !== "";
}

/** TRINE_CONFIG, else by the XDG base directory specification, which has no relative directories. */
function configPath({ TRINE_CONFIG = "", XDG_CONFIG_HOME = "", HOME = "/" }: Environment): string {
  if (TRINE_CONFIG !== "") return TRINE_CONFIG;
  const base = XDG_CONFIG_HOME.startsWith("/") ? XDG_CONFIG_HOME : join(HOME, ".config");
  return join(base, "trine/config.yaml");
}

function settingsOf(environment: Environment, values: Values, file: string): Config["settings"] {
  const settings = SETTING_NAMES.map((name): Setting => {
    const { variable, usual } = FIELDS[name];
    const said = environment[variable] ?? "";
    if (said !== "") {
      const problem = problemOf(name, said);
      if (problem !== undefined) throw new TrineError("invalid", `${variable}: ${problem}`);
      return { name, value: said, origin: variable };
    }
    const inFile = values[name];
    return inFile === undefined
      ? { name, value: usual, origin: "default" }
      : { name, value: inFile, origin: file };
  });
  return Object.fromEntries(settings.map((each) => [each.name, each])) as Config["settings"];
}

async function readValues(file: string, isWanted: boolean): Promise<Values> {
  const text = textOf(file, isWanted);
  if (text === undefined) return {};
  // Most have no file: they do not wait for the reader of YAML.
  const { parse } = await import("yaml");
  try {
    return checkFile(parse(text, { maxAliasCount: 0, logLevel: "error" }), file);
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    const [line = ""] = messageOf(cause).split("\n");
    throw new TrineError("invalid", `configuration ${quote(file)}: ${line}`, { cause });
  }
}

/** Undefined: there is none, and nobody has named it. */
function textOf(file: string, isWanted: boolean): string | undefined {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const code = errnoOf(cause);
    if (!isWanted && (code === "ENOENT" || code === "ENOTDIR")) return undefined;
    const kind = code === "EACCES" ? "forbidden" : code === "ENOENT" ? "notFound" : kindOf(cause);
    throw new TrineError(kind, `configuration ${quote(file)}: ${messageOf(cause)}`, { cause });
  }
  try {
    requireOwn(fd, file);
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}

function requireOwn(fd: number, file: string): void {
  const { size, uid, mode } = fstatSync(fd);
  const refuse = (kind: "invalid" | "forbidden", why: string): never => {
    throw new TrineError(kind, `configuration ${quote(file)}: ${why}`);
  };
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) refuse("invalid", "it is no file");
  if (size > MAX_FILE_BYTES) refuse("invalid", `more than ${MAX_FILE_BYTES} bytes`);
  if (uid !== 0 && uid !== process.geteuid?.()) {
    refuse("forbidden", `it belongs to user ${uid}: chown it to yourself or root`);
  }
  if ((mode & WRITABLE) !== 0) {
    refuse("forbidden", "others may write it, and would say what is done here: chmod go-w");
  }
}

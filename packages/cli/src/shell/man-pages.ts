import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Argument, Command } from "commander";
import { FIELDS } from "../config/settings.ts";
import { VERSION } from "../version.ts";
import { CONCEPTS } from "./concepts.ts";

const CODES: readonly (readonly [string, string])[] = [
  ["0", "done"],
  ["1", "failed; doctor: a check failed; why: a pod does not run"],
  ["2", "bad usage, or input that is refused"],
  ["3", "not found"],
  ["4", "no answer in time"],
  ["5", "conflict: ambiguous, or not in this state"],
  ["6", "not permitted"],
  ["7", "the node daemon or containerd cannot be reached"],
  ["125, 126, 127", "the runtime failed, the program cannot be run, it is not there"],
  ["130, 143", "interrupted by ^C, by SIGTERM"],
];
const ENVIRONMENT: readonly (readonly [string, string])[] = [
  [
    "TRINE_CONFIG",
    "the configuration file; else trine/config.yaml below XDG_CONFIG_HOME or ~/.config",
  ],
  ...Object.entries(FIELDS).map(([name, { variable, usual }]): [string, string] => [
    variable,
    `the setting ${name}${usual === "" ? "" : `; ${usual}`}`,
  ]),
];

/** A page a command, from the table that --help is made of: DIR/trine.1, DIR/trine-run.1, … */
export async function writeManPages(trine: Command, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const command of commandsOf(trine)) {
    await writeFile(join(dir, `${pageName(command)}.1`), manPage(command), { mode: 0o644 });
  }
}

function commandsOf(command: Command): Command[] {
  const subs = command.commands.filter((each) => !each.name().startsWith("__"));
  return [command, ...subs.flatMap(commandsOf)];
}

/** `trine-guest-build` */
function pageName(command: Command): string {
  return command.parent === null ? command.name() : `${pageName(command.parent)}-${command.name()}`;
}

function manPage(command: Command): string {
  const name = pageName(command);
  const words = name.replaceAll("-", " ");
  const { description, options, subs } = {
    description: command.description(),
    options: command.options.filter(({ hidden }) => !hidden),
    subs: command.commands.filter((each) => !each.name().startsWith("__")),
  };
  const lines = [
    `.TH "${name.toUpperCase()}" 1 "" "Trine ${VERSION}" "Trine"`,
    ...[".SH NAME", `${plain(name)} \\- ${plain(description)}`],
    ...[".SH SYNOPSIS", `.B ${plain(words)}`, plain(command.usage())],
    ...[".SH DESCRIPTION", text(sentence(description))],
  ];
  const own = command.registeredArguments;
  if (own.length > 0) lines.push(".SH ARGUMENTS", ...own.flatMap(argument));
  if (options.length > 0) lines.push(".SH OPTIONS");
  for (const {
    flags,
    description: what,
    argChoices,
    defaultValue,
    defaultValueDescription,
  } of options) {
    const choices = argChoices === undefined ? "" : ` One of ${argChoices.join(", ")}.`;
    const usual = defaultValueDescription ?? shown(defaultValue);
    const preset = usual === "" ? "" : ` Default: ${usual}.`;
    lines.push(".TP", `.B ${plain(flags)}`, text(`${sentence(what)}${choices}${preset}`));
  }
  if (subs.length > 0) lines.push(".SH COMMANDS");
  for (const sub of subs)
    lines.push(".TP", `.B ${plain(sub.name())}`, text(sentence(sub.description())));
  if (name === "trine-help-concepts") lines.push(...CONCEPTS.flatMap(section));
  const examples = examplesOf(command);
  if (examples.length > 0) lines.push(".SH EXAMPLES", ".nf", ...examples.map(text), ".fi");
  if (command.parent === null) lines.push(".SH ENVIRONMENT", ...ENVIRONMENT.flatMap(entry));
  lines.push(".SH EXIT STATUS", ...CODES.flatMap(entry), ".SH SEE ALSO", seeAlso(command, subs));
  return `${lines.join("\n")}\n`;
}

function section([title, words]: readonly [string, string]): string[] {
  return [`.SH ${plain(title.toUpperCase())}`, text(words)];
}

function argument(own: Argument): string[] {
  const dots = own.variadic ? "..." : "";
  const choices = own.argChoices === undefined ? "" : ` One of ${own.argChoices.join(", ")}.`;
  const what = `${sentence(own.description)}${choices}`;
  return [".TP", `.I ${plain(own.name() + dots)}`, text(what)];
}

function entry([name, what]: readonly [string, string]): string[] {
  return [".TP", `.B ${plain(name)}`, text(sentence(what))];
}

function seeAlso(command: Command, subs: readonly Command[]): string {
  const parent = command.parent === null ? [] : [command.parent];
  const pages = [...parent, ...subs].map((each) => `.BR ${plain(pageName(each))} (1)`);
  return pages.length === 0 ? ".BR trine (1)" : pages.join(" ,\n");
}

/** Lines below `Examples:` of the command's own help. */
function examplesOf(command: Command): string[] {
  let help = "";
  const before = command.configureOutput();
  command.configureOutput({ ...before, writeOut: (part) => (help += part) });
  command.outputHelp();
  command.configureOutput(before);
  const [, after = ""] = help.split("\nExamples:\n");
  return after.split("\n").flatMap((line) => (line.startsWith("  ") ? [line.trim()] : []));
}

function shown(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function sentence(words: string): string {
  const upper = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.?!]$/.test(upper) ? upper : `${upper}.`;
}

/** roff reads backslashes, hyphens and quotes as its own. */
function plain(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll('"', "\\(dq");
}

/** A line of its own must not begin as a request. */
function text(words: string): string {
  const safe = plain(words);
  return /^[.']/.test(safe) ? `\\&${safe}` : safe;
}

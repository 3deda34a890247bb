import type { Argument, Command, Option } from "commander";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { PodRecords, nameOf } from "../pods/pod-records.ts";
import { levelOf, listPodViews } from "../pods/pod-view.ts";
import type { PodView } from "../pods/pod-view.ts";

/** A shell that waits for names is worse than one without. */
const NAMES_MS = 300;
const FILES = ":files\n";
const FORMS = ["table", "wide", "json", "yaml", "name", "csv", "jsonpath="];

interface Candidate {
  readonly value: string;
  readonly help?: string;
}

/**
 * What may come at the place of the last word: a line each, VALUE or VALUE tab HELP; the line `:files` hands
 * over to the shell. Nodes that do not answer in time have no names.
 */
export async function complete(
  io: Io,
  program: Command,
  words: readonly string[],
): Promise<string> {
  const at = walk(program, joinEquals(words));
  const found = await candidates(io, at);
  if (found === undefined) return FILES;
  return found
    .filter(({ value }) => value.startsWith(at.typed))
    .map(({ value, help }) => (help === undefined ? `${value}\n` : `${value}\t${help}\n`))
    .join("");
}

interface Place {
  readonly command: Command;
  /** Words that are no flags and no commands. */
  readonly given: readonly string[];
  /** The flag whose value is being typed. */
  readonly option?: Option;
  readonly typed: string;
}

/** bash makes three words of --flag=value. */
function joinEquals(words: readonly string[]): string[] {
  return words.filter((word, index) => {
    const next = words[index + 1];
    return word !== "=" || (next === undefined && index > 0);
  });
}

function walk(program: Command, words: readonly string[]): Place {
  let command = program;
  let option: Option | undefined;
  const given: string[] = [];
  const typed = words.at(-1) ?? "";
  for (const word of words.slice(0, -1)) {
    if (option !== undefined) {
      option = undefined;
    } else if (word.startsWith("-")) {
      const named = command.options.find((each) => each.long === word || each.short === word);
      if (named?.required === true) option = named;
    } else {
      const sub = command.commands.find((each) => each.name() === word);
      if (sub === undefined) given.push(word);
      else command = sub;
    }
  }
  const joined = /^(--[a-z-]+)=(.*)$/.exec(typed);
  const named = command.options.find((each) => each.long === joined?.[1]);
  if (named !== undefined) return { command, given, option: named, typed };
  return { command, given, typed: typed === "=" ? "" : typed, ...(option && { option }) };
}

/** Undefined: files. */
async function candidates(io: Io, at: Place): Promise<Candidate[] | undefined> {
  const { command, given, option, typed } = at;
  if (option !== undefined) {
    const values = await valuesOf(io, option, given);
    const prefix = typed.startsWith("--") ? typed.slice(0, typed.indexOf("=") + 1) : "";
    return values?.map((value) => ({ value: prefix + value }));
  }
  if (typed.startsWith("-")) {
    const shown = [...command.options].filter(({ hidden }) => !hidden);
    return [
      ...shown.map(({ long, short, description }) => ({
        value: long ?? short ?? "",
        help: oneLine(description),
      })),
      { value: "--help", help: "display help for command" },
    ];
  }
  if (command.commands.length > 0) {
    return command.commands
      .filter((each) => !each.name().startsWith("__"))
      .map((each) => ({ value: each.name(), help: oneLine(each.description()) }));
  }
  const own = command.registeredArguments;
  const argument = own[Math.min(given.length, own.length - 1)];
  if (argument === undefined || (given.length >= own.length && !argument.variadic)) return [];
  return argumentValues(io, argument, given);
}

async function argumentValues(
  io: Io,
  argument: Argument,
  given: readonly string[],
): Promise<Candidate[] | undefined> {
  if (argument.argChoices !== undefined) return argument.argChoices.map((value) => ({ value }));
  const name = argument.name();
  if (name === "pod") {
    const pods = await podNames(io);
    return pods.filter(({ value }) => !given.includes(value));
  }
  if (name === "image") return (await imageNames(io)).map((value) => ({ value }));
  if (name === "from" || name === "to") {
    // One side is a path here: the shell knows those.
    const pods = (await podNames(io)).map(({ value, ...rest }) => ({
      ...rest,
      value: `${value}:`,
    }));
    return name === "to" || pods.length === 0 ? undefined : pods;
  }
  return ["file", "dir", "source"].includes(name) ? undefined : [];
}

async function valuesOf(
  io: Io,
  option: Option,
  given: readonly string[],
): Promise<string[] | undefined> {
  if (option.argChoices !== undefined) return option.argChoices;
  switch (option.long) {
    case "--output":
      return FORMS;
    case "--namespace":
      return [...new Set((await views(io)).map(({ namespace }) => namespace))];
    case "--container": {
      const [pod = ""] = given;
      const named = (view: PodView): boolean =>
        view.name === pod || `${view.namespace}/${view.name}` === pod;
      return (await views(io))
        .filter(named)
        .flatMap(({ containers }) => containers.map((c) => c.name));
    }
    case "--selector": {
      const labels = (await views(io)).flatMap((view) => Object.entries(view.labels));
      return [...new Set(labels.map(([key, value]) => `${key}=${value}`))];
    }
    default:
      return /file|dir|path|socket/.test(option.flags) ? undefined : [];
  }
}

async function podNames(io: Io): Promise<Candidate[]> {
  const running = await views(io);
  const known = await new PodRecords(io).list().catch(() => []); // another's files
  const names = new Map<string, Candidate>();
  for (const { pod } of known) {
    names.set(nameOf(pod), candidate(pod.metadata, levelOf(pod.spec.runtimeClassName)));
  }
  for (const view of running) {
    names.set(`${view.namespace}/${view.name}`, candidate(view, view.level));
  }
  return [...names.values()].sort((a, b) => (a.value < b.value ? -1 : 1));
}

function candidate(pod: { namespace: string; name: string }, help: string): Candidate {
  const value = pod.namespace === "default" ? pod.name : `${pod.namespace}/${pod.name}`;
  return { value, help };
}

function views(io: Io): Promise<PodView[]> {
  return inTime(io, [], (timed) => withCri(timed, (cri) => listPodViews(cri, timed.signal)));
}

function imageNames(io: Io): Promise<string[]> {
  return inTime(io, [], (timed) =>
    withCri(timed, async (cri) => {
      const { images } = await cri.images.listImages({}, { signal: timed.signal });
      return images.flatMap(({ repoTags }) => repoTags).sort();
    }),
  );
}

/** Whatever goes wrong: who presses a key wants no message. */
async function inTime<T>(io: Io, otherwise: T, ask: (io: Io) => Promise<T>): Promise<T> {
  const signal = AbortSignal.any([io.signal, AbortSignal.timeout(NAMES_MS)]);
  try {
    return await ask({ ...io, stdin: io.stdin, signal });
  } catch {
    return otherwise;
  }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

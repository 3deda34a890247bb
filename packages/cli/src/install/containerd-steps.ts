import { parse } from "smol-toml";
import { HANDLERS } from "@trine/annotations";
import { TrineError, messageOf } from "@trine/base";
import { CRI_PLUGIN, NRI_PLUGIN, tableAt } from "./containerd-facts.ts";
import type { ConfigFile, ContainerdFacts } from "./containerd-facts.ts";
import { ownFile, withBlock, withLinesBack, withTurnedLine, withoutBlock } from "./marked-text.ts";
import type { NodeKind } from "./node-kind.ts";
import type { TextStep } from "./step.ts";

/** Where our tables go, and in which form of the configuration. */
interface Target {
  readonly path: string;
  readonly form: 2 | 3;
  /** A file of our own, or a block in one that has other things; `base` is what such a file begins with. */
  readonly how: { readonly own: true } | { readonly own: false; readonly base: string };
}

export interface ContainerdWishes {
  readonly nri: boolean;
  readonly gvisor: boolean;
}

/** Tables of handlers, by form: files of deploy/containerd. */
export interface HandlerTables {
  readonly trine: Readonly<Record<2 | 3, string>>;
  readonly gvisor: Readonly<Record<2 | 3, string>>;
}

const BASE_TEMPLATE = '{{ template "base" . }}\n';
const NRI_TABLE = `[plugins."${NRI_PLUGIN}"]`;
const RUNC_TABLE = `[plugins."${CRI_PLUGIN[2]}".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
`;
const NRI_ON = `${NRI_TABLE}\n  disable = false\n`;
const DROP_IN = "trine.toml";

export function containerdStep(
  of: { readonly kind: NodeKind; readonly facts: ContainerdFacts },
  wishes: ContainerdWishes,
  tables: HandlerTables,
): TextStep {
  const target = chooseTarget(of.kind, of.facts);
  const blocks = wantedBlocks(of, target, wishes, tables);
  const step = { kind: "text", path: target.path, restarts: ["containerd"] } as const;
  const what = `containerd: ${Object.keys(blocks).join(", ")}`;
  if (target.how.own) {
    const body = `version = ${target.form}\n\n${Object.values(blocks).join("\n")}`;
    return { ...step, what, edit: () => ownFile(body) };
  }
  const { base } = target.how;
  const isToml = base !== BASE_TEMPLATE;
  const turn = wishes.nri && nriNeeds(of, target) === "turn";
  const edit = (text: string | undefined): string => {
    const edited = withWanted(text ?? ownFile(base), blocks);
    const turned = turn ? withNriTurned(target.path, edited) : withLinesBack(edited);
    return isToml ? checked(target.path, turned) : turned;
  };
  return { ...step, what, edit };
}

/** Blocks by name, of the target's form; those that somebody has made by hand are left to them. */
function wantedBlocks(
  of: { readonly kind: NodeKind; readonly facts: ContainerdFacts },
  target: Target,
  wishes: ContainerdWishes,
  tables: HandlerTables,
): Record<string, string> {
  const { form } = target;
  const byHand = handlersByHand(of.facts);
  const blocks: Record<string, string> = {};
  if (losesRunc(of, target)) blocks["runc"] = RUNC_TABLE;
  if (!HANDLERS.some((name) => byHand.has(name))) blocks["trine"] = bodyOf(tables.trine[form]);
  if (wishes.gvisor && !byHand.has("gvisor")) blocks["gvisor"] = bodyOf(tables.gvisor[form]);
  if (wishes.nri && nriNeeds(of, target) === "table") blocks["nri"] = NRI_ON;
  return blocks;
}

/** containerd 1 (seen in 1.6.20) has runc of its own only as long as the file says nothing of handlers. */
function losesRunc(
  { kind, facts }: { readonly kind: NodeKind; readonly facts: ContainerdFacts },
  target: Target,
): boolean {
  if (facts.version.major > 1 || kind.by !== "edit") return false;
  const files = [...facts.imported, ...(facts.config === undefined ? [] : [facts.config])];
  const plugins = files.find(({ path }) => path === target.path)?.plugins ?? {};
  const runtimes = tableAt(plugins, CRI_PLUGIN[2], "containerd", "runtimes");
  return Object.keys(runtimes).length === 0;
}

/** What comes before the first table is for who reads the file in deploy/. */
function bodyOf(file: string): string {
  return file.slice(file.search(/^\[/m));
}

/** Names of handlers that the node has without us. */
export function handlersByHand({ config, imported }: ContainerdFacts): ReadonlySet<string> {
  const files = config === undefined ? imported : [config, ...imported];
  const names = files.flatMap(({ plugins }) =>
    Object.values(CRI_PLUGIN).flatMap((plugin) =>
      Object.keys(tableAt(plugins, plugin, "containerd", "runtimes")),
    ),
  );
  return new Set(names);
}

function chooseTarget(kind: NodeKind, facts: ContainerdFacts): Target {
  const { config, importedDirs } = facts;
  const form = (config?.version ?? (facts.version.major >= 2 ? 3 : 2)) >= 3 ? 3 : 2;
  const dir = kind.directory?.replace("{v}", form === 3 ? "-v3" : "");
  if (kind.by === "directory")
    return { path: `${String(dir)}/${DROP_IN}`, form, how: { own: true } };
  if (kind.by === "rendered") return renderedTarget(kind, form, importedDirs.includes(String(dir)));
  const [firstDir] = importedDirs;
  if (facts.version.major >= 2 && firstDir !== undefined) {
    return { path: `${firstDir}/${DROP_IN}`, form: 3, how: { own: true } };
  }
  const { path = kind.config, version = form } = lastWithCri(facts) ?? config ?? {};
  if (version < 2) {
    const advice =
      "write it anew by `containerd config migrate`, or with `version = 2` and its names";
    throw new TrineError(
      "invalid",
      `${path} has version ${version} of containerd's configuration: ${advice}`,
    );
  }
  return { path, form: version >= 3 ? 3 : 2, how: { own: false, base: `version = ${form}\n` } };
}

/** Files of others are merged key by key by containerd 2 only; the template is what older ones have. */
function renderedTarget(kind: NodeKind, form: 2 | 3, isImported: boolean): Target {
  const fill = (text = ""): string => text.replace("{v}", form === 3 ? "-v3" : "");
  if (form === 3 && isImported) {
    return { path: `${fill(kind.directory)}/${DROP_IN}`, form, how: { own: true } };
  }
  return { path: fill(kind.template), form, how: { own: false, base: BASE_TEMPLATE } };
}

/** containerd 1 takes a plugin's configuration whole from the last file that has any. */
function lastWithCri({ version, imported }: ContainerdFacts): ConfigFile | undefined {
  if (version.major >= 2) return undefined;
  return imported.findLast(({ plugins }) => CRI_PLUGIN[2] in plugins);
}

/** What has to be done for NRI: a table of ours, a line of theirs turned, nothing, or it is not to be had. */
export function nriNeeds(
  { kind, facts }: { readonly kind: NodeKind; readonly facts: ContainerdFacts },
  target: Target = chooseTarget(kind, facts),
): "table" | "turn" | "nothing" | "impossible" {
  const { major, minor } = facts.version;
  if (major < 1 || (major === 1 && minor < 7)) return "impossible";
  const all = [...(facts.config === undefined ? [] : [facts.config]), ...facts.imported];
  const last = all.findLast(({ plugins }) => NRI_PLUGIN in plugins);
  const disabled = tableAt(last?.plugins ?? {}, NRI_PLUGIN)["disable"] ?? major === 1;
  if (disabled === false) return "nothing";
  if (target.how.own || last === undefined) return "table";
  if (last.path === target.path) return "turn";
  const where = `${last.path}: set disable = false in ${NRI_TABLE}, or install with --no-lxcfs`;
  throw new TrineError("invalid", `NRI is off in ${where}`);
}

function withWanted(text: string, blocks: Readonly<Record<string, string>>): string {
  const gone = ["runc", "trine", "gvisor", "nri"].filter((name) => !(name in blocks));
  const rest = gone.reduce((each, name) => withoutBlock(each, name), text);
  return Object.entries(blocks).reduce((each, [name, body]) => withBlock(each, name, body), rest);
}

function withNriTurned(path: string, text: string): string {
  const turned = withTurnedLine(text, { header: NRI_TABLE, key: "disable", value: "false" });
  if (turned !== undefined) return turned;
  const advice = `set disable = false in ${NRI_TABLE}, or install with --no-lxcfs`;
  throw new TrineError(
    "invalid",
    `NRI is off in ${path}, in a form that cannot be changed: ${advice}`,
  );
}

/** What containerd would not read is not written. */
function checked(path: string, text: string): string {
  try {
    parse(text);
    return text;
  } catch (cause) {
    const why = messageOf(cause).split("\n")[0] ?? "";
    const advice = "add the tables of share/trine/containerd by hand";
    const what = `${path}: our tables cannot be appended to it (${why}): ${advice}`;
    throw new TrineError("invalid", what, { cause });
  }
}

import { dirname, posix } from "node:path";
import { parse } from "smol-toml";
import { TrineError, messageOf } from "@trine/base";
import type { NodeFiles } from "./node-files.ts";
import type { NodeKind } from "./node-kind.ts";
import { isOwnFile, withoutMarks } from "./marked-text.ts";

/** containerd's plugin that has the handlers, by version of the configuration file. */
export const CRI_PLUGIN = { 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime" };
export const NRI_PLUGIN = "io.containerd.nri.v1.nri";

type Table = Readonly<Record<string, unknown>>;

export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
}

/** What of a node's containerd decides where our configuration goes. */
export interface ContainerdFacts {
  readonly version: ContainerdVersion;
  /** The main file: undefined where there is none. */
  readonly config: ConfigFile | undefined;
  /** Files it imports now, in the order in which containerd reads them. */
  readonly imported: readonly ConfigFile[];
  /** Directories whose *.toml it imports. */
  readonly importedDirs: readonly string[];
}

/** One file as it is without anything of ours. */
export interface ConfigFile {
  readonly path: string;
  /** Of the file's form: 2, 3 or more. */
  readonly version: number;
  readonly plugins: Table;
}

const MAX_IMPORTS = 64;

export async function lookAtContainerd(
  files: NodeFiles,
  kind: NodeKind,
  version: ContainerdVersion | undefined,
): Promise<ContainerdFacts> {
  const main = await readConfig(files, kind.config);
  const imports = main === undefined ? [] : importsOf(kind.config, main.table);
  const imported: ConfigFile[] = [];
  for (const path of await expand(files, imports)) {
    const file = await readConfig(files, path);
    // A drop-in of ours says nothing of what the node has by itself.
    if (file !== undefined && !file.isOurs) imported.push(configFile(path, file.table));
  }
  const config = main === undefined ? undefined : configFile(kind.config, main.table);
  return {
    version: version ?? guessVersion(kind, config),
    config,
    imported,
    importedDirs: imports.filter((each) => each.endsWith("/*.toml")).map((each) => dirname(each)),
  };
}

async function readConfig(
  files: NodeFiles,
  path: string,
): Promise<{ table: Table; isOurs: boolean } | undefined> {
  const text = await files.read(path);
  if (text === undefined) return undefined;
  const isOurs = isOwnFile(text);
  try {
    return { table: parse(withoutMarks(text)), isOurs };
  } catch (cause) {
    // A template of a product's; what it is made into is not ours to know.
    if (/\$\{|\{\{/.test(text))
      return { table: { version: /^version = 3/m.test(text) ? 3 : 2 }, isOurs };
    throw new TrineError("invalid", `${path} is no TOML: ${messageOf(cause)}`, { cause });
  }
}

function configFile(path: string, table: Table): ConfigFile {
  const { version = 1, plugins = {} } = table;
  return { path, version: Number(version), plugins: isTable(plugins) ? plugins : {} };
}

function importsOf(path: string, { imports = [] }: Table): string[] {
  if (!Array.isArray(imports)) return [];
  return imports
    .filter((each) => typeof each === "string")
    .map((each) => posix.resolve(dirname(path), each));
}

/** A name's last part may have stars, as in containerd. */
async function expand(files: NodeFiles, imports: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const each of imports) {
    const dir = dirname(each);
    const names = await files.list(dir);
    const paths = names.map((name) => posix.join(dir, name)).sort();
    found.push(...paths.filter((path) => posix.matchesGlob(path, each)));
  }
  if (found.length <= MAX_IMPORTS) return found;
  throw new TrineError(
    "invalid",
    `containerd's configuration imports more than ${MAX_IMPORTS} files`,
  );
}

/** Version 3 of the file is containerd 2's; a file of version 2 may be either's. */
function guessVersion({ name }: NodeKind, config: ConfigFile | undefined): ContainerdVersion {
  if (config !== undefined && config.version >= 3) return { major: 2, minor: 0 };
  // They render a file of the version that their containerd has.
  if (config !== undefined && name !== "plain") return { major: 1, minor: 7 };
  const what =
    "which containerd the node has is not known: say so by --containerd-version, such as 1.7";
  throw new TrineError("invalid", what);
}

/** `containerd --version`: containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1 */
export function parseContainerdVersion(text: string): ContainerdVersion | undefined {
  const match = /(?:^|\s)v?(\d{1,3})\.(\d{1,3})(?=[.\s~+-]|$)/.exec(text);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]) };
}

/** A table below a table; empty where it is not there. */
export function tableAt(table: Table, ...path: readonly string[]): Table {
  return path.reduce<Table>((at, key) => {
    const next = at[key];
    return isTable(next) ? next : {};
  }, table);
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

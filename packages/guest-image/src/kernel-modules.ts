import { readFile, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import { compressionOf, decompress } from "./decompress.ts";
import { section } from "./elf.ts";

const MAX_MODULES = 20_000;
const MAX_MODULE = 64 << 20;
const MAX_LOADED = 512;
const ALIAS = /^[A-Za-z0-9_:.-]{1,128}$/;
const FILE_NAME = /^([A-Za-z0-9_-]+)\.ko(?:\.(?:xz|zst|gz))?$/;

export interface KernelModule {
  /** With underscores, as the kernel names it. */
  readonly name: string;
  /** Not compressed. */
  readonly data: Buffer;
}

/** A module that the guest loads when something asks for it. */
export interface OnDemandModule extends KernelModule {
  /** Names of the modules it needs, in load order. */
  readonly needs: readonly string[];
  /** Other names by which the kernel asks for it. */
  readonly aliases: readonly string[];
}

/** The modules of one kernel: a directory such as /lib/modules/6.1.0-56-amd64. */
export class KernelModules {
  readonly #dir: string;
  readonly #files: ReadonlyMap<string, string>;
  readonly #builtin: ReadonlySet<string>;

  private constructor(
    dir: string,
    files: ReadonlyMap<string, string>,
    builtin: ReadonlySet<string>,
  ) {
    this.#dir = dir;
    this.#files = files;
    this.#builtin = builtin;
  }

  /** Kind `notFound` when the directory is not there, `invalid` when it holds no kernel's modules. */
  static async open(dir: string): Promise<KernelModules> {
    const paths = await readdir(join(dir, "kernel"), { recursive: true }).catch(
      (cause: unknown) => {
        if (errnoOf(cause) === "ENOENT") return undefined;
        throw TrineError.during(`read ${dir}`, cause);
      },
    );
    if (paths === undefined) {
      throw new TrineError("notFound", `${dir}: no modules there (no directory kernel in it)`);
    }
    const files = new Map<string, string>();
    for (const path of paths) {
      const name = FILE_NAME.exec(basename(path))?.[1];
      if (name !== undefined) files.set(canonical(name), join(dir, "kernel", path));
    }
    if (files.size > MAX_MODULES) {
      throw new TrineError("exhausted", `${dir}: more than ${MAX_MODULES} modules`);
    }
    return new KernelModules(dir, files, await builtinNames(join(dir, "modules.builtin")));
  }

  /**
   * These modules with all that they need, in an order in which each can be loaded. What is part of the kernel
   * is left out. What a module needs is read from the module itself: packages come without modules.dep. Kind
   * `notFound` names a module that is missing and who needs it.
   */
  async inLoadOrder(names: readonly string[], signal: AbortSignal): Promise<KernelModule[]> {
    const ordered = new Map<string, KernelModule>();
    const visit = async (name: string, neededBy: readonly string[]): Promise<void> => {
      if (ordered.has(name) || (this.#builtin.has(name) && !this.#files.has(name))) return;
      if (neededBy.includes(name) || ordered.size >= MAX_LOADED) {
        const chain = [...neededBy, name].slice(0, 10).join(" needs ");
        throw new TrineError("invalid", `${this.#dir}: modules without end: ${chain}`);
      }
      const data = await this.#read(name, neededBy.at(-1), signal);
      for (const needed of dependencies(`module ${name}`, data)) {
        await visit(canonical(needed), [...neededBy, name]);
      }
      ordered.set(name, { name, data });
    };
    for (const name of names) await visit(canonical(name), []);
    return [...ordered.values()];
  }

  /**
   * These modules, and all that they need, as the guest finds them by name or alias. One that this kernel has
   * not, or has built in, is left out.
   */
  async onDemand(names: readonly string[], signal: AbortSignal): Promise<OnDemandModule[]> {
    const found = new Map<string, OnDemandModule>();
    for (const name of names.map(canonical)) {
      if (!this.#files.has(name)) continue;
      const ordered = await this.inLoadOrder([name], signal);
      // The first ones of a list in load order are what a module of it needs, and a few more, which do no harm.
      ordered.forEach((module, place) => {
        if (found.has(module.name)) return;
        const needs = ordered.slice(0, place).map((each) => each.name);
        found.set(module.name, { ...module, needs, aliases: aliasesOf(module) });
      });
    }
    return [...found.values()];
  }

  async #read(name: string, neededBy: string | undefined, signal: AbortSignal): Promise<Buffer> {
    const path = this.#files.get(name);
    const why = neededBy === undefined ? "" : `, which ${neededBy} needs`;
    if (path === undefined) {
      throw new TrineError("notFound", `${this.#dir}: no module ${name}${why}`);
    }
    if ((await stat(path)).size > MAX_MODULE) {
      throw new TrineError("exhausted", `${path}: larger than ${MAX_MODULE} bytes`);
    }
    const data = await readFile(path, { signal });
    if (compressionOf(data) === undefined) return data;
    return decompress(data, { what: path, maxBytes: MAX_MODULE, signal });
  }
}

/** What a module's own description says it needs. */
function dependencies(what: string, data: Buffer): string[] {
  const [line] = infoOf(what, data, "depends");
  if (line === undefined) throw new TrineError("invalid", `${what}: not a kernel module`);
  return line.split(",").filter(Boolean);
}

/** One with a blank or a pattern in it is of a kind that nothing here asks for. */
function aliasesOf({ name, data }: KernelModule): string[] {
  return infoOf(`module ${name}`, data, "alias").filter((alias) => ALIAS.test(alias));
}

function infoOf(what: string, data: Buffer, key: string): string[] {
  const info = section(what, data, ".modinfo")?.toString("latin1").split("\0") ?? [];
  const start = `${key}=`;
  return info.filter((entry) => entry.startsWith(start)).map((entry) => entry.slice(start.length));
}

async function builtinNames(path: string): Promise<ReadonlySet<string>> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return "";
    throw TrineError.during(`read ${path}`, cause);
  });
  const names = text.split("\n").map((line) => FILE_NAME.exec(basename(line))?.[1] ?? "");
  return new Set(names.filter(Boolean).map(canonical));
}

function canonical(name: string): string {
  return name.replaceAll("-", "_");
}

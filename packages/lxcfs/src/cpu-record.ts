import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { TrineError, errnoOf, parseCpuList } from "@trine/base";

/** More containers than a node has. */
const MAX_CHOICES = 8192;

export interface CpuChoiceMade {
  /** Who tells of the container. */
  readonly source: string;
  readonly cpus: string;
  /** What it had before: until the change has been seen it may have either. */
  readonly earlier?: string;
}

/** Which CPU sets are our choice, on disk: a change is written before it is made, whole or not at all. */
export class CpuRecord {
  readonly #file: string;
  #choices: ReadonlyMap<string, CpuChoiceMade>;

  private constructor(file: string, choices: ReadonlyMap<string, CpuChoiceMade>) {
    this.#file = file;
    this.#choices = choices;
  }

  /** What cannot be read is told, and the record is empty: sets that are there count as somebody else's. */
  static open(file: string, onProblem: (cause: unknown) => void): CpuRecord {
    try {
      return new CpuRecord(file, parse(readFileSync(file, "utf8")));
    } catch (cause) {
      if (errnoOf(cause) !== "ENOENT") onProblem(cause);
      return new CpuRecord(file, new Map());
    }
  }

  get(key: string): CpuChoiceMade | undefined {
    return this.#choices.get(key);
  }

  othersThan(key: string): number[][] {
    const others = [...this.#choices].filter(([each]) => each !== key);
    return others.map(([, { cpus }]) => parseCpuList(cpus));
  }

  set(key: string, choice: CpuChoiceMade): void {
    const others = [...this.#choices].filter(([each]) => each !== key);
    this.#write(new Map([...others, [key, choice] as const].slice(-MAX_CHOICES)));
  }

  drop(key: string): void {
    if (!this.#choices.has(key)) return;
    this.#write(new Map([...this.#choices].filter(([each]) => each !== key)));
  }

  /** Of this source's, those with these keys alone. */
  keep(source: string, keys: ReadonlySet<string>): void {
    const kept = [...this.#choices].filter(([key, of]) => of.source !== source || keys.has(key));
    if (kept.length < this.#choices.size) this.#write(new Map(kept));
  }

  #write(choices: ReadonlyMap<string, CpuChoiceMade>): void {
    const text = JSON.stringify({ version: 1, choices: Object.fromEntries(choices) });
    writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
    this.#choices = choices;
  }
}

function parse(text: string): Map<string, CpuChoiceMade> {
  const { version, choices } = JSON.parse(text) as {
    readonly version?: unknown;
    readonly choices?: Readonly<Record<string, CpuChoiceMade>>;
  };
  if (version !== 1 || choices === undefined) {
    throw new TrineError("malformed", "no record of CPU sets of this version");
  }
  for (const { cpus } of Object.values(choices)) parseCpuList(cpus);
  return new Map(Object.entries(choices));
}

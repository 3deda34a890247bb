import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { TrineError, errnoOf, parseCpuList } from "@trine/base";

/** More containers than a node has. */
export const MAX_CHOICES = 8192;

export interface CpuChoiceMade {
  /** Who tells of the container. */
  readonly source: string;
  readonly cpus: string;
  /** What it had before: until the change has been seen it may have either. */
  readonly earlier?: string;
}

/** Choices by container, as they were at one time: one that is made again is another object. */
export type CpuChoices = ReadonlyMap<string, CpuChoiceMade>;

/**
 * Which CPU sets are our choice, on disk: a change is written before it is made, whole or not at all. What is let go is let go also
 * where that cannot be written: the next write says it.
 */
export class CpuRecord {
  readonly #file: string;
  #choices: CpuChoices;

  private constructor(file: string, choices: CpuChoices) {
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

  get choices(): CpuChoices {
    return this.#choices;
  }

  get(key: string): CpuChoiceMade | undefined {
    return this.#choices.get(key);
  }

  othersThan(key: string): number[][] {
    const others = [...this.#choices].filter(([each]) => each !== key);
    return others.map(([, { cpus }]) => parseCpuList(cpus));
  }

  /** Kind `exhausted` where there are too many: those that are there may run for long yet. */
  set(key: string, choice: CpuChoiceMade): void {
    const others = [...this.#choices].filter(([each]) => each !== key);
    if (others.length >= MAX_CHOICES) {
      throw new TrineError("exhausted", `${MAX_CHOICES} CPU sets are chosen already`);
    }
    const choices = new Map([...others, [key, choice] as const]);
    this.#write(choices);
    this.#choices = choices;
  }

  drop(key: string): void {
    this.keep((each) => each !== key);
  }

  /** Those alone that are wanted. */
  keep(isWanted: (key: string, choice: CpuChoiceMade) => boolean): void {
    const kept = new Map([...this.#choices].filter((entry) => isWanted(...entry)));
    if (kept.size === this.#choices.size) return;
    this.#choices = kept;
    this.#write(kept);
  }

  #write(choices: CpuChoices): void {
    const text = JSON.stringify({ version: 1, choices: Object.fromEntries(choices) });
    writeFileSync(`${this.#file}.new`, text, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
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

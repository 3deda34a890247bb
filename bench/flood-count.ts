const LINES_PER_MIB = 16_384;
const LINE = /FLOOD (\d{10}) /;

/** Counts the numbered lines of the tiny guest's `flood MIB`; other lines are not its business. */
export class FloodCount {
  readonly #seen: Uint8Array;
  #last = -1;
  twice = 0;
  outOfOrder = 0;

  constructor(mib: number) {
    this.#seen = new Uint8Array(mib * LINES_PER_MIB);
  }

  /** What the last line says. */
  get lastLine(): string {
    return `FLOOD ${String(this.#seen.length - 1).padStart(10, "0")} `;
  }

  /** The last line has come. */
  get complete(): boolean {
    return this.#seen.at(-1) === 1;
  }

  get missing(): number {
    return this.#seen.reduce((sum, seen) => sum + 1 - seen, 0);
  }

  line(text: string): void {
    const found = LINE.exec(text)?.[1];
    if (found === undefined) return;
    const number = Number(found);
    if (this.#seen[number] === 1) this.twice += 1;
    if (number < this.#last) this.outOfOrder += 1;
    this.#last = number;
    this.#seen[number] = 1;
  }
}

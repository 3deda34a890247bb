const LINES_PER_PASS = 16_384;
const LINE = /FLOOD (\d{10}) /;
const PASS = /PASS (\d+|end)/;

/** Counts the tiny guest's numbered lines, said again in each pass (`PASS N`, at last `PASS end`). */
export class FloodCount {
  readonly #seen: Uint8Array;
  #last = -1;
  #pass = 0;
  complete = false;
  twice = 0;
  outOfOrder = 0;

  /** A pass is 1 MiB. */
  constructor(passes: number) {
    this.#seen = new Uint8Array(passes * LINES_PER_PASS);
  }

  get missing(): number {
    return this.#seen.reduce((sum, seen) => sum + 1 - seen, 0);
  }

  line(text: string): void {
    const pass = PASS.exec(text)?.[1];
    if (pass === "end") this.complete = true;
    else if (pass !== undefined) this.#pass = Number(pass);
    const found = LINE.exec(text)?.[1];
    if (found === undefined) return;
    const number = this.#pass * LINES_PER_PASS + Number(found);
    if (this.#seen[number] === 1) this.twice += 1;
    if (number < this.#last) this.outOfOrder += 1;
    this.#last = number;
    this.#seen[number] = 1;
  }
}

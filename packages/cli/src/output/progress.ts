import type { Io } from "../io.ts";
import { printable } from "./table.ts";

export type ProgressForm = "auto" | "plain" | "json" | "none";

const SHOW_EVERY_MS = 200;
const BAR_WIDTH = 20;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A line of `--progress=json`, on stderr. */
interface ProgressLine {
  /** The pod or image. */
  readonly object: string;
  readonly step: string;
  /** How far the step is; absent where nothing is counted. */
  readonly bytes?: number;
  /** Absent while nobody knows of how many. */
  readonly totalBytes?: number;
}

/** The step at hand, on stderr: one line rewritten on a terminal, one line a change elsewhere. */
export class Progress {
  readonly #io: Pick<Io, "stderr">;
  readonly #form: Exclude<ProgressForm, "auto"> | "terminal";
  #open = false;
  #last = "";
  #tenth = 0;
  #shownAt = 0;
  #begunAt = 0;

  constructor(io: Pick<Io, "stderr">, form: ProgressForm) {
    this.#io = io;
    this.#form = form !== "auto" ? form : io.stderr.isTTY === true ? "terminal" : "plain";
  }

  /** The step that is still pending when nothing followed it. */
  get last(): string {
    return this.#last;
  }

  step(object: string, text: string): void {
    this.#last = text;
    const line = printable(`${object}: ${text}`);
    if (this.#form === "json") {
      this.#writeJson({ object, step: text });
    } else if (this.#form === "plain") {
      this.#io.stderr.write(`${line}\n`);
    } else if (this.#form === "terminal") {
      this.#io.stderr.write(`\r\u001b[K${line}`);
      this.#open = true;
    }
  }

  /**
   * How far a step is, in bytes; undefined = nobody knows of how many. A bar on a terminal, a line each tenth
   * in plain text, both at most every so often.
   */
  amount(object: string, step: string, done: number, total: number | undefined): void {
    const isNew = this.#last !== step;
    this.#last = step;
    const tenth = total === undefined || total === 0 ? 0 : Math.floor((done / total) * 10);
    const now = performance.now();
    const isDue = now - this.#shownAt >= SHOW_EVERY_MS;
    const wanted = this.#form === "plain" ? isNew || tenth !== this.#tenth : isNew || isDue;
    if (!wanted || this.#form === "none") return;
    if (isNew) this.#begunAt = now;
    this.#shownAt = now;
    this.#tenth = tenth;
    const text = `${object}: ${amountText(step, done, total)}`;
    if (this.#form === "json") {
      const bytes = { bytes: done, ...(total === undefined ? {} : { totalBytes: total }) };
      this.#writeJson({ object, step, ...bytes });
    } else if (this.#form === "plain") {
      this.#io.stderr.write(`${printable(text)}\n`);
    } else {
      const rate = (done / Math.max(now - this.#begunAt, 1)) * 1000;
      const bar = total === undefined || total === 0 ? "" : ` ${barOf(done / total)}`;
      const tail = isNew ? "" : ` ${sizeText(rate)}/s`;
      this.#io.stderr.write(`\r\u001b[K${printable(text)}${bar}${tail}`);
      this.#open = true;
    }
  }

  #writeJson(line: ProgressLine): void {
    this.#io.stderr.write(`${JSON.stringify(line)}\n`);
  }

  /** Takes the line off the terminal; repeatable. */
  end(): void {
    if (this.#open) this.#io.stderr.write("\r\u001b[K");
    this.#open = false;
  }
}

function amountText(step: string, done: number, total: number | undefined): string {
  if (total === undefined) return done === 0 ? step : `${step} ${sizeText(done)}`;
  const percent = total === 0 ? 100 : Math.floor((done / total) * 100);
  return `${step} ${percent}% of ${sizeText(total)}`;
}

function barOf(part: number): string {
  const full = Math.min(BAR_WIDTH, Math.floor(part * BAR_WIDTH));
  return `[${"#".repeat(full)}${"-".repeat(BAR_WIDTH - full)}]`;
}

/** Bytes for people: `1.5 GiB`. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 || value >= 100 ? Math.floor(value) : value.toFixed(1)} ${UNITS[unit] ?? ""}`;
}

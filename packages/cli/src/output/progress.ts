import type { Io } from "../io.ts";
import { printable } from "./table.ts";

export type ProgressForm = "auto" | "plain" | "json" | "none";

/** The step at hand, on stderr: one line rewritten on a terminal, one line a change elsewhere. */
export class Progress {
  readonly #io: Pick<Io, "stderr">;
  readonly #form: Exclude<ProgressForm, "auto"> | "terminal";
  #open = false;
  #last = "";

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
      this.#io.stderr.write(`${JSON.stringify({ object, step: text })}\n`);
    } else if (this.#form === "plain") {
      this.#io.stderr.write(`${line}\n`);
    } else if (this.#form === "terminal") {
      this.#io.stderr.write(`\r\u001b[K${line}`);
      this.#open = true;
    }
  }

  /** Takes the line off the terminal; repeatable. */
  end(): void {
    if (this.#open) this.#io.stderr.write("\r\u001b[K");
    this.#open = false;
  }
}

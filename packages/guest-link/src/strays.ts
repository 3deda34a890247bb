import type { TrineError } from "@trine/base";

const MAX_COUNT = 64;
const MAX_BYTES = 48 << 20;

/** What the agent gave back for a request: its value, or its refusal. */
export type Answer = { readonly value: unknown } | { readonly error: TrineError };

/** Answers nobody waits for (any more, or yet), newest kept, by request id. */
export class Strays {
  readonly #answers = new Map<string, { answer: Answer; bytes: number }>();
  #bytes = 0;

  put(id: string, answer: Answer, bytes: number): void {
    this.take(id);
    this.#answers.set(id, { answer, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MAX_COUNT && this.#bytes <= MAX_BYTES) return;
      this.take(oldest);
    }
  }

  take(id: string): Answer | undefined {
    const found = this.#answers.get(id);
    if (found === undefined) return undefined;
    this.#answers.delete(id);
    this.#bytes -= found.bytes;
    return found.answer;
  }
}

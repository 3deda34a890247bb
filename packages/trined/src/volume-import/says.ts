import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ImportProgress } from "@trine/image-import";
import type { VolumeWord } from "@trine/node-door";

/** The node's directory, which trined reads from its own side. */
const SAY_DIR = "/trine/say";
const EVERY_MS = 500;
const MAX_MESSAGE = 1_000;

/** How much of the whole each step is: where it begins and ends, of 100. What is fetched is written afterwards. */
const SPANS: Readonly<Record<ImportProgress["step"], readonly [number, number]>> = {
  download: [0, 50],
  read: [0, 50],
  unpack: [50, 60],
  check: [50, 60],
  convert: [60, 100],
  store: [60, 100],
  register: [100, 100],
};

export function percentOf({ step, done, total, isLast = false }: ImportProgress): number {
  const [from, end] = SPANS[step];
  const to = isLast ? 100 : end;
  if (total === undefined || total === 0) return from;
  return from + (to - from) * Math.min(1, done / total);
}

/** Tells the node how far the import is: a file that is whole whenever it is read. */
export class Says {
  readonly dir: string;
  readonly #file: string;
  #progress = 0;
  #toldMs = -Infinity;
  #writing: Promise<void> = Promise.resolve();

  constructor(dir = SAY_DIR) {
    this.dir = dir;
    this.#file = join(dir, "word.json");
  }

  readonly onProgress = (progress: ImportProgress): void => {
    // A step that is repeated does not lead back.
    this.#progress = Math.max(this.#progress, percentOf(progress));
    const now = performance.now();
    if (now - this.#toldMs < EVERY_MS) return;
    this.#toldMs = now;
    this.#tell({ state: "running", progress: this.#progress });
  };

  /** For an upload, with what was wrong with the last one. */
  waiting(message = ""): void {
    this.#progress = 0;
    this.#tell({ state: "waiting", progress: 0, ...(message && { message: cut(message) }) });
  }

  async end(state: "done" | "failed", message: string): Promise<void> {
    const progress = state === "done" ? 100 : this.#progress;
    this.#tell({ state, progress, ...(message && { message: cut(message) }) });
    await this.#writing;
  }

  #tell(word: VolumeWord): void {
    const write = async (): Promise<void> => {
      await writeFile(`${this.#file}.new`, JSON.stringify(word));
      await rename(`${this.#file}.new`, this.#file);
    };
    this.#writing = this.#writing.then(write).catch((cause: unknown) => {
      // The import itself is worth more than what is told of it.
      console.error("the node cannot be told of progress:", cause);
    });
  }
}

function cut(message: string): string {
  return message.slice(0, MAX_MESSAGE);
}

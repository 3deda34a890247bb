import { once } from "node:events";
import type { Duplex } from "node:stream";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { JsonLines, TrineError, messageOf, printable, withDeadline } from "@trine/base";
import type { Pod, Stored } from "@trine/kube-client";
import { type CopyWord, FILLER_CONTAINER, readCopyWord } from "@trine/node-door";
import type { Doors } from "./doors.ts";

/** Each takes the network of two nodes; the next ones wait. */
const MOST = 8;
/** A stream on which nothing moves for as long is over. */
const STALL_MS = 300_000;
/** So long a taker writes what it has taken, at most. */
const WRITE_MS = 1_800_000;
/** Before the same two are joined again. */
const AGAIN_MS = 5_000;
const WORD_LIMITS = { maxLineBytes: 16_384, maxDepth: 4 };

interface CopiesOptions {
  readonly doors: Pick<Doors, "of">;
  /** Of a copy that was cut off; it begins anew. */
  readonly onCut: (taker: string, cause: unknown) => void;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
}

/** What goes on between pods of two namespaces: each node has a stream to its pod, and here they are joined. */
export class Copies {
  readonly #options: CopiesOptions;
  readonly #now: () => number;
  readonly #ended = new AbortController();
  readonly #running = new Map<string, Promise<void>>();
  /** By taker: not before then. */
  readonly #resting = new Map<string, number>();

  constructor(options: CopiesOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Begins a copy, unless that taker has one, has had one just now, or there are too many: whoever asks asks again. */
  readonly join = (giver: Stored<Pod>, taker: Stored<Pod>): void => {
    const now = this.#now();
    for (const [uid, until] of this.#resting) if (until <= now) this.#resting.delete(uid);
    const { uid } = taker.metadata;
    if (this.#running.has(uid) || this.#resting.has(uid) || this.#running.size >= MOST) return;
    const work = this.#copy(giver, taker, this.#ended.signal)
      .catch((cause: unknown) => {
        if (!this.#ended.signal.aborted) this.#options.onCut(uid, cause);
      })
      .finally(() => {
        this.#running.delete(uid);
        this.#resting.set(uid, this.#now() + AGAIN_MS);
      });
    this.#running.set(uid, work);
  };

  /** Ends what goes on; both sides wait for the next leader. */
  async close(): Promise<void> {
    this.#ended.abort(new TrineError("canceled", "another one leads"));
    await Promise.all(this.#running.values());
  }

  async #copy(giver: Stored<Pod>, taker: Stored<Pod>, signal: AbortSignal): Promise<void> {
    const to = await this.#open(taker, signal);
    try {
      const from = await this.#open(giver, signal);
      from.on("error", () => undefined); // told by what is waited for
      try {
        await join(from, to, signal);
      } finally {
        from.destroy();
      }
    } finally {
      to.destroy();
    }
  }

  async #open({ metadata, spec }: Stored<Pod>, signal: AbortSignal): Promise<Duplex> {
    const { namespace = "", name: pod, uid } = metadata;
    const door = await this.#options.doors.of(spec.nodeName ?? "", signal);
    const stream = await door.upload({ namespace, pod, uid }, FILLER_CONTAINER, signal);
    stream.on("error", () => undefined);
    return stream;
  }
}

async function join(from: Duplex, to: Duplex, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const word = wordOf(to);
  // A taker that refuses says so while it is still given to.
  const onWord = (): void => {
    over.abort(new TrineError("canceled", "the one that takes it has said how it went"));
  };
  word.then(onWord, onWord);
  const sending = { signal: AbortSignal.any([signal, over.signal]), end: false };
  const isSent = await pipeline(from, stalling(over), to, sending).then(
    () => true,
    () => false, // the taker says why, or that it has all
  );
  if (signal.aborted) throw signal.reason;
  // One that was given half of it hears so.
  to.end();
  const said = await withDeadline("the copy's end", isSent ? WRITE_MS : AGAIN_MS, word);
  if ("kind" in said) throw new TrineError(said.kind, printable(said.message, 1_024));
}

/** Ends both where nothing passes any more. */
function stalling(over: AbortController): Transform {
  let late: NodeJS.Timeout | undefined;
  const wait = (): void => {
    clearTimeout(late);
    late = setTimeout(() => {
      over.abort(new TrineError("timeout", `nothing was copied for ${STALL_MS} ms`));
    }, STALL_MS);
  };
  wait();
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      wait();
      done(null, chunk);
    },
    destroy: (cause, done) => {
      clearTimeout(late);
      done(cause);
    },
  });
}

/** The one word that a taker says, at its end. */
async function wordOf(stream: Duplex): Promise<CopyWord> {
  const lines = new JsonLines(WORD_LIMITS);
  const closed = once(stream, "close").then(() => {
    throw new TrineError("unavailable", "the one that takes it has left without a word");
  });
  const heard = new Promise<CopyWord>((resolve, reject) => {
    stream.on("data", (bytes: Buffer) => {
      for (const line of lines.push(bytes)) {
        if (!("value" in line)) {
          reject(new TrineError("unavailable", `the one that takes it: ${messageOf(line.error)}`));
          return;
        }
        const word = readCopyWord(line.value);
        if (word !== undefined) resolve(word);
        else
          reject(new TrineError("unavailable", "the one that takes it says what makes no sense"));
        return;
      }
    });
    stream.once("end", () => {
      reject(new TrineError("unavailable", "the one that takes it has ended without a word"));
    });
  });
  return Promise.race([heard, closed]);
}

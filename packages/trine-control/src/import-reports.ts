import { kindOf, sleep } from "@trine/base";
import type { Pod, Stored } from "@trine/kube-client";
import type { ImportReport } from "@trine/node-door";
import type { Doors } from "./doors.ts";

/** Of all that a node has: one that fills many volumes is asked once for all of them. */
const KEPT_MS = 1_000;
/** So long a volume waits for its node; what was asked goes on. */
const WAIT_MS = 2_000;
/** So long a node that did not answer is left alone. */
const ALONE_MS = 30_000;

interface Asked {
  readonly answer: Promise<readonly ImportReport[]>;
  /** Not before it has ended. */
  until: number;
}

/** What nodes say of the imports of their pods. A node that does not answer now has said nothing. */
export class ImportReports {
  readonly #doors: Pick<Doors, "of">;
  readonly #now: () => number;
  readonly #asked = new Map<string, Asked>();

  /** `now`: milliseconds that only grow. */
  constructor(doors: Pick<Doors, "of">, now: () => number = () => performance.now()) {
    this.#doors = doors;
    this.#now = now;
  }

  /** `signal`: the controller's, not one volume's: others wait for the same answer. */
  readonly of = async (
    pod: Stored<Pod>,
    signal: AbortSignal,
  ): Promise<ImportReport | undefined> => {
    const node = pod.spec.nodeName;
    if (node === undefined || node === "") return undefined;
    const said = await soon(this.#ask(node, signal));
    return said.find(({ uid }) => uid === pod.metadata.uid);
  };

  #ask(node: string, signal: AbortSignal): Promise<readonly ImportReport[]> {
    const now = this.#now();
    for (const [name, { until }] of this.#asked) if (until <= now) this.#asked.delete(name);
    const there = this.#asked.get(node);
    if (there !== undefined) return there.answer;
    const keep = (ms: number): void => {
      asked.until = this.#now() + ms;
    };
    const asked: Asked = { answer: this.#fetch(node, keep, signal), until: Infinity };
    this.#asked.set(node, asked);
    return asked.answer;
  }

  async #fetch(
    node: string,
    keep: (ms: number) => void,
    signal: AbortSignal,
  ): Promise<readonly ImportReport[]> {
    try {
      const reports = await (await this.#doors.of(node, signal)).imports(signal);
      keep(KEPT_MS);
      return reports;
    } catch (cause) {
      const isOurs = ["canceled", "internal"].includes(kindOf(cause));
      keep(isOurs ? 0 : ALONE_MS);
      if (isOurs) throw cause;
      return []; // its pod's own status goes on without it
    }
  }
}

/** Nothing where the answer is late. */
async function soon(answer: Promise<readonly ImportReport[]>): Promise<readonly ImportReport[]> {
  const done = new AbortController();
  const late = sleep(WAIT_MS, done.signal).then(() => []);
  try {
    return await Promise.race([answer, late]);
  } finally {
    done.abort();
  }
}

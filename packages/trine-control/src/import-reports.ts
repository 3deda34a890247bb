import { kindOf } from "@trine/base";
import type { Pod, Stored } from "@trine/kube-client";
import type { ImportReport } from "@trine/node-door";
import type { Doors } from "./doors.ts";

/** Of all that a node has: one that fills many volumes is asked once for all of them. */
const KEPT_MS = 1_000;

interface Asked {
  readonly at: number;
  readonly answer: Promise<readonly ImportReport[]>;
}

/** What nodes say of the imports of their pods. A node that does not answer now has said nothing. */
export class ImportReports {
  readonly #doors: Pick<Doors, "of">;
  readonly #asked = new Map<string, Asked>();

  constructor(doors: Pick<Doors, "of">) {
    this.#doors = doors;
  }

  readonly of = async (
    pod: Stored<Pod>,
    signal: AbortSignal,
  ): Promise<ImportReport | undefined> => {
    const node = pod.spec.nodeName;
    if (node === undefined || node === "") return undefined;
    const said = await this.#ask(node, signal);
    return said.find(({ uid }) => uid === pod.metadata.uid);
  };

  async #ask(node: string, signal: AbortSignal): Promise<readonly ImportReport[]> {
    const now = performance.now();
    for (const [name, { at }] of this.#asked) if (now - at > KEPT_MS) this.#asked.delete(name);
    const asked = this.#asked.get(node) ?? { at: now, answer: this.#fetch(node, signal) };
    this.#asked.set(node, asked);
    return asked.answer;
  }

  async #fetch(node: string, signal: AbortSignal): Promise<readonly ImportReport[]> {
    try {
      return await (await this.#doors.of(node, signal)).imports(signal);
    } catch (cause) {
      if (["canceled", "internal"].includes(kindOf(cause))) throw cause;
      return []; // its pod's own status goes on without it
    }
  }
}

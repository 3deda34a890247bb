import { messageOf } from "@trine/base";
import type { MachineReport } from "@trine/node-door";
import type { Logger } from "pino";
import { foundMachines, keyOf } from "./door-machines.ts";
import type { DoorEngine, FoundMachine } from "./door-machines.ts";

/** What changes within it is told once. */
const COALESCE_MS = 50;
const TURN_MS = 1_000;
/** A guest is looked at no more often, whatever it says of news. */
const LOOK_MS = 5_000;
const CONNECTED_LOOK_MS = 10_000;
const LONGEST_LOOK_MS = 30_000;

export type FeedEvent =
  | { readonly type: "machine"; readonly object: MachineReport }
  | ({ readonly type: "gone" } & Pick<MachineReport, "namespace" | "pod" | "uid">);

type Listener = (event: FeedEvent) => void;

interface Known {
  readonly text: string;
  readonly report: MachineReport;
}

interface Looked {
  at: number;
  /** How many looks nobody has answered. */
  silent: number;
}

/**
 * The machines of the node as they change, for as long as anybody listens: what the engine does is told at once, guests are
 * asked at their own pace. Without listeners nobody is asked anything.
 */
export class MachineFeed {
  readonly #engine: DoorEngine;
  readonly #log: Logger;
  readonly #listeners = new Set<Listener>();
  readonly #looked = new Map<string, Looked>();
  #known = new Map<string, Known>();
  #unlisten: (() => void) | undefined;
  #turn: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> = Promise.resolve();

  constructor(engine: DoorEngine, log: Logger) {
    this.#engine = engine;
    this.#log = log;
  }

  /** All machines as they are now; `listener` has every change from then on until `stop`. */
  async listen(listener: Listener): Promise<{ items: readonly MachineReport[]; stop: () => void }> {
    this.#begin();
    await this.#refresh();
    const items = [...this.#known.values()].map(({ report }) => report);
    this.#listeners.add(listener);
    return {
      items,
      stop: () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size === 0) this.stop();
      },
    };
  }

  /** The machine, its guest asked anew where nobody has lately. */
  async fresh(found: FoundMachine): Promise<MachineReport> {
    await this.#look(found, performance.now());
    return found.control.report() ?? found.report;
  }

  stop(): void {
    this.#unlisten?.();
    this.#unlisten = undefined;
    clearInterval(this.#turn);
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#known.clear();
  }

  #begin(): void {
    if (this.#unlisten !== undefined) return;
    this.#unlisten = this.#engine.onChange(() => {
      this.#refreshSoon();
    });
    this.#turn = setInterval(() => {
      void this.#lookAtGuests();
    }, TURN_MS);
    this.#turn.unref();
  }

  #refreshSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.#refresh();
    }, COALESCE_MS);
  }

  /** One after the other: what was told last is what is. */
  #refresh(): Promise<void> {
    this.#refreshing = this.#refreshing
      .then(() => this.#tellChanges())
      .catch((cause: unknown) => {
        this.#log.error({ err: messageOf(cause) }, "door: machines");
      });
    return this.#refreshing;
  }

  async #tellChanges(): Promise<void> {
    const found = await foundMachines(this.#engine);
    const now = new Map(
      found.map(({ report }) => [keyOf(report), { report, text: JSON.stringify(report) }] as const),
    );
    const before = this.#known;
    this.#known = now;
    for (const [key, { report, text }] of now) {
      if (before.get(key)?.text !== text) this.#tell({ type: "machine", object: report });
    }
    for (const [key, { report }] of before) {
      if (now.has(key)) continue;
      const { namespace, pod, uid } = report;
      this.#looked.delete(key);
      this.#tell({ type: "gone", namespace, pod, uid });
    }
  }

  #tell(event: FeedEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async #lookAtGuests(): Promise<void> {
    const now = performance.now();
    const found = await foundMachines(this.#engine);
    const looks = await Promise.all(found.map((each) => this.#look(each, now)));
    if (looks.includes(true) && this.#unlisten !== undefined) await this.#refresh();
  }

  /** Answers whether it was due. */
  async #look({ report, control }: FoundMachine, now: number): Promise<boolean> {
    const key = keyOf(report);
    const looked = this.#looked.get(key) ?? { at: -Infinity, silent: 0 };
    if (now - looked.at < (control.isNews ? LOOK_MS : waitOf(report, looked))) return false;
    looked.at = now;
    this.#looked.set(key, looked);
    await control.look();
    const isConnected = control.report()?.agent.connected === true;
    looked.silent = isConnected ? 0 : looked.silent + 1;
    return true;
  }
}

function waitOf({ agent }: MachineReport, { silent }: Looked): number {
  if (agent.connected) return CONNECTED_LOOK_MS;
  return Math.min(LOOK_MS * Math.max(1, silent), LONGEST_LOOK_MS);
}

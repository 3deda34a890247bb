import type { Cache, Node, Pod } from "@trine/kube-client";
import type { DoorEvent, MachineRef, MachineReport, MachineSize, NodeDoor } from "@trine/node-door";
import { TrineError } from "@trine/base";
import type { Heard } from "./heard.ts";

/** What the nodes say of their machines. */
export interface Machines {
  /** Of a pod's machine, as its node said last. The first question about a node opens its door. */
  heard(node: string, ref: MachineRef): Heard;
  /** Gives a guest what it is to have; settles when it has. Rejects as the node's door does. */
  resize(node: string, ref: MachineRef, size: MachineSize): Promise<void>;
}

interface MachinesDeps {
  readonly nodes: Cache<Node>;
  /** With the index NODE_INDEX. */
  readonly pods: Cache<Pod>;
  readonly open: (of: { readonly node: string; readonly host: string }) => NodeDoor;
  readonly now: () => Date;
  /** A node that is not heard, and one that is heard again. */
  readonly onDoor: (node: string, what: "heard" | TrineError) => void;
  /** `NAMESPACE/POD` of which something else is known. */
  readonly onChange: (pod: string) => void;
}

/** Pods by the name of their node. */
export const NODE_INDEX = "node";

interface Watched {
  readonly door: NodeDoor;
  readonly host: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
  readonly reports: Map<string, MachineReport>;
  /** Undefined: it is heard. */
  lostSince: Date | undefined;
}

/** Watches the doors of the nodes that have pods of ours, and of no others. */
export class NodeMachines implements Machines {
  readonly #deps: MachinesDeps;
  readonly #watched = new Map<string, Watched>();
  readonly #stops: readonly (() => void)[];
  readonly #began: Date;
  #isOver = false;

  constructor(deps: MachinesDeps) {
    this.#deps = deps;
    this.#began = deps.now();
    this.#stops = [
      deps.pods.onChange((before) => {
        this.#leave(before?.spec.nodeName);
      }),
      deps.nodes.onChange((before, after) => {
        this.#moved(after ?? before);
      }),
    ];
  }

  heard(node: string, ref: MachineRef): Heard {
    const watched = this.#watched.get(node) ?? this.#watch(node);
    if (watched === undefined) return { node: "lost", since: this.#began };
    const report = watched.reports.get(idOf(ref));
    const said = report === undefined ? {} : { report };
    const { lostSince } = watched;
    return lostSince === undefined
      ? { node: "heard", ...said }
      : { node: "lost", since: lostSince, ...said };
  }

  async resize(node: string, ref: MachineRef, size: MachineSize): Promise<void> {
    const watched = this.#watched.get(node) ?? this.#watch(node);
    if (watched === undefined) {
      throw new TrineError("unavailable", `node ${node}: its door is not known`);
    }
    await watched.door.resize(ref, size, watched.abort.signal);
  }

  async close(): Promise<void> {
    this.#isOver = true;
    for (const stop of this.#stops) stop();
    const all = [...this.#watched.keys()].map((node) => this.#end(node));
    await Promise.all(all);
  }

  #watch(node: string): Watched | undefined {
    const host = addressOf(this.#deps.nodes.get(node));
    if (host === undefined || this.#isOver) return undefined;
    const abort = new AbortController();
    const door = this.#deps.open({ node, host });
    const watched: Watched = {
      ...{ door, host, abort, reports: new Map(), lostSince: this.#deps.now() },
      done: Promise.resolve().then(() => this.#read(node, watched)),
    };
    this.#watched.set(node, watched);
    return watched;
  }

  async #read(node: string, watched: Watched): Promise<void> {
    const { door, abort } = watched;
    try {
      for await (const event of door.watch(abort.signal)) this.#take(node, watched, event);
    } catch (cause) {
      if (!abort.signal.aborted) throw cause;
    } finally {
      door.close();
    }
  }

  #take(node: string, watched: Watched, event: DoorEvent): void {
    const { reports } = watched;
    switch (event.type) {
      case "state": {
        const before = [...reports.values()];
        reports.clear();
        for (const item of event.items) reports.set(idOf(item), item);
        if (watched.lostSince !== undefined) this.#deps.onDoor(node, "heard");
        watched.lostSince = undefined;
        this.#tell([...before, ...event.items]);
        // Of those it knows nothing of, that it is heard is news too.
        this.#tellAll(node);
        return;
      }
      case "machine":
        reports.set(idOf(event.object), event.object);
        this.#tell([event.object]);
        return;
      case "gone":
        reports.delete(idOf(event));
        this.#tell([event]);
        return;
      case "lost":
        watched.lostSince ??= this.#deps.now();
        this.#deps.onDoor(node, event.why);
        this.#tellAll(node);
    }
  }

  #tell(refs: readonly MachineRef[]): void {
    for (const key of new Set(refs.map(({ namespace, pod }) => `${namespace}/${pod}`))) {
      this.#deps.onChange(key);
    }
  }

  #tellAll(node: string): void {
    for (const { metadata } of this.#deps.pods.byIndex(NODE_INDEX, node)) {
      this.#deps.onChange(`${metadata.namespace ?? ""}/${metadata.name}`);
    }
  }

  /** A node without pods of ours is not asked any more. */
  #leave(node: string | undefined): void {
    if (node === undefined || this.#deps.pods.byIndex(NODE_INDEX, node).length > 0) return;
    void this.#end(node);
  }

  /** A node that has another address now has another door. */
  #moved(node: Node | undefined): void {
    const name = node?.metadata?.name ?? "";
    const watched = this.#watched.get(name);
    if (watched === undefined || addressOf(this.#deps.nodes.get(name)) === watched.host) return;
    void this.#end(name);
    this.#tellAll(name);
  }

  async #end(node: string): Promise<void> {
    const watched = this.#watched.get(node);
    if (watched === undefined) return;
    this.#watched.delete(node);
    watched.abort.abort();
    await watched.done;
  }
}

function idOf({ namespace, pod, uid }: MachineRef): string {
  return `${namespace}/${pod}/${uid}`;
}

function addressOf(node: Node | undefined): string | undefined {
  return node?.status?.addresses?.find(({ type }) => type === "InternalIP")?.address;
}

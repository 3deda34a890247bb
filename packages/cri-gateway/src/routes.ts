import { kindOf, messageOf } from "@trine/base";
import type { NodeState } from "./node-state.ts";
import { metadataKey } from "./registry.ts";
import type { Known } from "./registry.ts";
import { chooseForPod } from "./routing.ts";
import type { Choice, RoutingConfig } from "./routing.ts";
import { bytesField, itemsAt, messageAt, stringAt } from "./wire.ts";

/** Far more pods than a node has. */
const MAX_MADE = 4096;
/** Nobody tells of the end of a pod that was never made. */
const MAX_REFUSED = 256;

/** Where a pod went, or why it went nowhere. */
export interface Route {
  readonly podNamespace: string;
  readonly name: string;
  readonly uid: string;
  /** Empty: it was refused. */
  readonly sandboxId: string;
  /** Empty: it was refused. */
  readonly backEnd: string;
  /** The handler its back end was asked for; empty: that back end's default. */
  readonly handler: string;
  /** The rule in words, or why it was refused. */
  readonly why: string;
  /** `made`: noted when the sandbox was made; `rules`: by the rules as they are now; `refused`. */
  readonly from: "made" | "rules" | "refused";
  /** When it was refused the last time, as RFC 3339. */
  readonly refusedAt?: string;
}

/** By which rule each sandbox of the node is where it is. In memory: of what was made before, the rules as they are now tell. */
export class Routes {
  readonly #node: NodeState;
  /** By a sandbox's metadata. */
  readonly #made = new Map<string, Choice>();
  readonly #refused = new Map<string, Route>();

  constructor(node: NodeState) {
    this.#node = node;
  }

  /** The choice for a pod that is to be made; what the rules refuse is noted with the reason, and thrown on. */
  choose(pod: { readonly config: Buffer; readonly handler: string }): Choice {
    const metadata = messageAt(pod.config, 1);
    const key = metadataKey(metadata);
    try {
      const choice = chooseForPod(this.#node.routing, pod, (name) => this.#node.reporting(name));
      this.#refused.delete(key);
      keep(this.#made, key, choice, MAX_MADE);
      return choice;
    } catch (cause) {
      const nowhere = { sandboxId: "", backEnd: "", handler: pod.handler };
      const refusal = { from: "refused", refusedAt: new Date().toISOString() } as const;
      const route = { ...namesOf(metadata), ...nowhere, why: messageOf(cause), ...refusal };
      // What is no pod at all is its sender's affair.
      if (kindOf(cause) !== "malformed") keep(this.#refused, key, route, MAX_REFUSED);
      throw cause;
    }
  }

  /** Every sandbox that is known, and the last pods that were refused. */
  list(): Route[] {
    const { backEnds, registry } = this.#node;
    const known = backEnds.flatMap(({ name }) => registry.known("sandbox", name));
    return [...known.map((each) => this.#routeOf(each)), ...this.#refused.values()];
  }

  #routeOf({ id, backEnd, record }: Known): Route {
    const metadata = messageAt(record, 2);
    const handler = stringAt(record, 7);
    const where = { ...namesOf(metadata), sandboxId: id, backEnd, handler };
    const made = this.#made.get(metadataKey(metadata));
    if (made?.backEnd === backEnd) return { ...where, why: made.why, from: "made" };
    const why =
      ruleFor(this.#node, { record, backEnd, handler }) ??
      "no rule of today leads there: it is older than the rules, or was made beside the gateway";
    return { ...where, why, from: "rules" };
  }
}

/** The rule by which a sandbox would be where it is; what it asked for is not kept, so each way there is tried. */
function ruleFor(
  node: NodeState,
  { record, backEnd, handler }: { record: Buffer; backEnd: string; handler: string },
): string | undefined {
  const config = Buffer.concat(itemsAt(record, 6).map((annotation) => bytesField(7, annotation)));
  for (const asked of askedFor(node.routing, handler)) {
    const choice = tried(node, config, asked);
    if (choice?.backEnd === backEnd && (choice.handler ?? asked) === handler) return choice.why;
  }
  return undefined;
}

/** Handlers that a pod may have named which is now under this one. */
function askedFor({ rules }: RoutingConfig, handler: string): string[] {
  const renamed = rules.filter((rule) => rule.useHandler === handler);
  return ["", handler, ...renamed.flatMap((rule) => rule.handler ?? [])];
}

function tried(node: NodeState, config: Buffer, handler: string): Choice | undefined {
  try {
    return chooseForPod(node.routing, { config, handler }, (name) => node.reporting(name));
  } catch (cause) {
    const kind = kindOf(cause);
    if (kind === "invalid" || kind === "forbidden") return undefined; // the rules refuse it today
    throw cause;
  }
}

function namesOf(metadata: Buffer): Pick<Route, "podNamespace" | "name" | "uid"> {
  const [name, uid, podNamespace] = [1, 2, 3].map((field) => stringAt(metadata, field));
  return { podNamespace: podNamespace ?? "", name: name ?? "", uid: uid ?? "" };
}

function keep<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}

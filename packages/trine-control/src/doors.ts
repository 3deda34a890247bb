import { TrineError } from "@trine/base";
import type { Cache, KubeApi, Secret } from "@trine/kube-client";
import { NODES, type Node } from "@trine/kube-client";
import { type DoorCredentials, type NodeDoor, openDoor } from "@trine/node-door";
import { readKept } from "./authority/kept-certificate.ts";

/** The certificate of a Secret, as doors want it; kind `unavailable` until the leader has made it. */
export function doorCredentials(
  secrets: Cache<Secret>,
  namespace: string,
  name: string,
): DoorCredentials {
  const secret = secrets.get(`${namespace}/${name}`);
  const kept = secret === undefined ? undefined : readKept(secret);
  if (kept !== undefined) return kept;
  throw new TrineError("unavailable", `secret ${namespace}/${name}: has no certificate yet`);
}

/** An address at which a node's door listens: its own network's first. */
function addressOf({ status }: Node): string | undefined {
  const addresses = status?.addresses ?? [];
  const own = addresses.find(({ type }) => type === "InternalIP");
  return (own ?? addresses.find(({ type }) => type === "ExternalIP"))?.address;
}

interface Open {
  readonly host: string;
  readonly door: NodeDoor;
}

/** More nodes than clusters have. */
const MAX_OPEN = 5_000;

/** Doors of nodes by name: each is opened once, and again where its node has another address. */
export class Doors {
  readonly #api: Pick<KubeApi, "get">;
  readonly #credentials: () => DoorCredentials;
  readonly #open = new Map<string, Open>();

  constructor(api: Pick<KubeApi, "get">, credentials: () => DoorCredentials) {
    this.#api = api;
    this.#credentials = credentials;
  }

  readonly of = async (node: string, signal: AbortSignal): Promise<NodeDoor> => {
    const host = addressOf(await this.#api.get(NODES, { name: node }, signal));
    if (host === undefined) throw new TrineError("unavailable", `node ${node}: has no address`);
    const there = this.#open.get(node);
    if (there?.host === host) return there.door;
    there?.door.close();
    const door = openDoor({ node, host, credentials: this.#credentials });
    this.#open.delete(node);
    this.#open.set(node, { host, door });
    this.#dropOldest();
    return door;
  };

  close(): void {
    for (const { door } of this.#open.values()) door.close();
    this.#open.clear();
  }

  #dropOldest(): void {
    const [oldest] = this.#open;
    if (this.#open.size <= MAX_OPEN || oldest === undefined) return;
    oldest[1].door.close();
    this.#open.delete(oldest[0]);
  }
}

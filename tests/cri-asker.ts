// Asks a CRI server, and tells what it said so that two servers can be compared.
import { join } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import type { DescMessage, DescMethodUnary, JsonValue, MessageInitShape } from "@bufbuild/protobuf";
import type { RawClient } from "@trine/cri-gateway/testing";
import { RuntimeService } from "@trine/proto/cri/api";
import type { ContainerConfig, ContainerConfigSchema } from "@trine/proto/cri/api";
import type { Containerd } from "@trine/testkit";

/** Fields of a container in place of the usual ones. */
type ContainerChoice = Exclude<MessageInitShape<typeof ContainerConfigSchema>, ContainerConfig>;

/** What a server said, without what differs from one call to the next: ids, times, addresses of streams. */
export interface Told {
  readonly method: string;
  readonly code: number;
  readonly message: string;
  readonly value: string;
}

export interface Rule {
  readonly rule: string;
  /** What containerd 2.4 answers to the last request: a gRPC code, or any but 0. */
  readonly wants: number | "refused";
  readonly ask: (at: Asker) => Promise<readonly Told[]>;
}

/** One pod that runs, and a client of a server that has it. */
export class Asker {
  readonly containerd: Containerd;
  readonly podSandboxId: string;
  readonly containerId: string;
  readonly image: string;
  readonly #client: RawClient;
  /** In the names of what it makes, so that two askers are not in each other's way. */
  readonly #name: string;
  readonly #pod: ReturnType<Containerd["podConfig"]>;

  constructor(
    client: RawClient,
    name: string,
    pod: {
      readonly containerd: Containerd;
      readonly config: ReturnType<Containerd["podConfig"]>;
      readonly podSandboxId: string;
      readonly containerId: string;
      readonly image: string;
    },
  ) {
    this.#client = client;
    this.#name = name;
    this.#pod = pod.config;
    ({
      containerd: this.containerd,
      podSandboxId: this.podSandboxId,
      containerId: this.containerId,
      image: this.image,
    } = pod);
  }

  async ask<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { figures = false, timeout = "" } = {},
  ): Promise<Told & { readonly id: string }> {
    const headers: Record<string, string> = timeout === "" ? {} : { "grpc-timeout": timeout };
    const schemas = [method.input, method.output] as const;
    const answer = await this.#client.call(method.name, schemas, request, headers);
    const json = JSON.stringify(inOrder(toJson(method.output, answer.value)));
    const id = /"(?:containerId|podSandboxId)":"([0-9a-f]{64})"/.exec(json)?.[1] ?? "";
    const told = figures ? withoutFigures(json) : json;
    const { code } = answer;
    const message = this.#same(answer.message);
    return { method: method.name, code, message, value: this.#same(told), id };
  }

  /** A container's creation in the pod. */
  create(
    name: string,
    config: ContainerChoice,
    podSandboxId = this.podSandboxId,
  ): Promise<Told & { readonly id: string }> {
    return this.ask(RuntimeService.method.createContainer, {
      podSandboxId,
      sandboxConfig: this.#pod,
      config: {
        metadata: { name: `${name}-${this.#name}`, attempt: 0 },
        image: { image: this.image },
        command: ["sleep", "1000"],
        ...config,
      },
    });
  }

  /** One that is expected to be refused, and is removed where it was not. */
  async refuse(config: ContainerChoice): Promise<Told[]> {
    const { id, ...told } = await this.create("refused", config);
    if (id !== "") await this.ask(RuntimeService.method.removeContainer, { containerId: id });
    return [told];
  }

  podNamed(name: string): ReturnType<Containerd["podConfig"]> {
    return this.containerd.podConfig({ name: `${name}-${this.#name}` });
  }

  /** A path that no other asker has. */
  path(name: string): string {
    return join(this.containerd.dir, `${name}-${this.#name}`);
  }

  #same(text: string): string {
    return (
      text
        .replaceAll(`-${this.#name}`, "-NAME")
        .replace(/[0-9a-f]{64}/g, "ID")
        .replace(/containerd-mount\d+/g, "MOUNT")
        .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UID")
        .replace(/http:\/\/[^"]+\/(exec|attach|portforward)\/[^"]+/g, "URL/$1")
        // A condition that the gateway adds to a node's status.
        .replace(/\{[^{}]*"type":"BackEnd\/[^{}]*\},/g, "")
        .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME")
        .replace(/"\d{16,}"/g, "TIME")
    );
  }
}

/** Of statistics what they are of: zeros are left out, and some come with the next look of the server's own. */
function withoutFigures(json: string): string {
  return json
    .replace(/"?\b\d+\b"?/g, "N")
    .replace(/,"usageNanoCores":\{[^{}]*\}/g, "")
    .replace(/\{"value":N\}/g, "{}")
    .replace(/,?"timestamp":N/g, "")
    .replace(/\{,/g, "{");
}

/** Maps and lists of a server's have no order of their own. */
function inOrder(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    const text = (each: JsonValue): string => JSON.stringify(each);
    return value.map(inOrder).sort((a, b) => (text(a) < text(b) ? -1 : 1));
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, inOrder(each)]));
}

/** gRPC's codes. */
export const CODES = { ok: 0, invalid: 3, late: 4, notFound: 5 } as const;

export async function one(told: Promise<Told>): Promise<Told[]> {
  return [await told];
}

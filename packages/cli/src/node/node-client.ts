import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { TrineError, kindOf, messageOf, observed, readAtMost } from "@trine/base";
import type { ErrorKind, OnRequest } from "@trine/base";
import type { PodSummary, SpareSummary, TemplateSummary } from "@trine/engine";
import type { GatewaySummary, RouteSummary, ViewFigures } from "@trine/node-api";
import type { Io } from "../io.ts";

const MAX_BODY_BYTES = 16 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

interface Reply {
  readonly status: number;
  readonly body: string;
}

/**
 * The node daemon's API on its unix socket. Kind `unavailable` when nobody answers there, `timeout` when
 * the answer is not whole in time, `forbidden` without the right to connect.
 */
export class NodeClient {
  readonly #socketPath: string;
  readonly #signal: AbortSignal;
  readonly #timeoutMs: number;
  readonly #onRequest: OnRequest | undefined;

  constructor(
    io: Pick<Io, "stateDir" | "signal"> & { readonly onRequest?: OnRequest },
    timeoutMs = TIMEOUT_MS,
  ) {
    this.#socketPath = join(io.stateDir, "api.sock");
    this.#signal = io.signal;
    this.#timeoutMs = timeoutMs;
    this.#onRequest = io.onRequest;
  }

  async pods(): Promise<readonly PodSummary[]> {
    return (await this.#items<PodSummary>("/v1/pods")) ?? [];
  }

  /** What pods go on from; undefined for a daemon that knows of none. */
  templates(): Promise<readonly TemplateSummary[] | undefined> {
    return this.#items<TemplateSummary>("/v1/templates");
  }

  /** Guests that wait for pods, by size; undefined for a daemon that knows of none. */
  spares(): Promise<readonly SpareSummary[] | undefined> {
    return this.#items<SpareSummary>("/v1/spares");
  }

  /** The CRI gateway, of which a node has one or none; undefined for a daemon that tells nothing of it. */
  gateway(): Promise<readonly GatewaySummary[] | undefined> {
    return this.#items<GatewaySummary>("/v1/gateway");
  }

  /** Where the gateway's pods went, and why; none for a daemon without one. */
  async routes(): Promise<readonly RouteSummary[]> {
    return (await this.#items<RouteSummary>("/v1/routes")) ?? [];
  }

  /** Views of containers' limits, which a node keeps or not; undefined for a daemon that tells nothing of them. */
  views(): Promise<readonly ViewFigures[] | undefined> {
    return this.#items<ViewFigures>("/v1/lxcfs");
  }

  /** What the VMM of the pod's machine says of itself; rejects with the daemon's words when it says nothing. */
  async machineReport(sandboxId: string): Promise<unknown> {
    const { status, body } = await this.#get(
      `/v1/machine-report?sandbox=${encodeURIComponent(sandboxId)}`,
    );
    if (status !== 200) throw refusal(status, body);
    return this.#parse(body);
  }

  /** Undefined: no such path there. */
  async #items<T>(path: string): Promise<readonly T[] | undefined> {
    const { status, body } = await this.#get(path);
    if (status === 404) return undefined;
    if (status !== 200) throw refusal(status, body);
    return (this.#parse(body) as { items: T[] }).items;
  }

  #parse(body: string): unknown {
    try {
      return JSON.parse(body);
    } catch (cause) {
      throw new TrineError(
        "internal",
        `the node daemon's answer is no JSON (${messageOf(cause)}): is ${this.#socketPath} trined's?`,
      );
    }
  }

  /** The pod named NAME, NAMESPACE/NAME, or by a unique prefix of its sandbox or container id. */
  async pod(name: string): Promise<PodSummary> {
    if (name === "") throw new TrineError("invalid", "a pod's name is empty");
    const pods = await this.pods();
    const exact = pods.filter((p) => p.name === name || `${p.podNamespace}/${p.name}` === name);
    const found = exact.length > 0 ? exact : pods.filter((pod) => hasId(pod, name));
    const [pod, second] = found;
    if (pod === undefined) {
      throw new TrineError("notFound", `no pod ${name} on this node; \`trine ps\` lists them`);
    }
    if (second !== undefined) {
      const names = found.map((p) => `${p.podNamespace}/${p.name} (${p.sandboxId.slice(0, 12)})`);
      throw new TrineError("conflict", `${name} is not one pod but ${names.join(", ")}`);
    }
    return pod;
  }

  /** Whether `/readyz` says yes, and its text. */
  async ready(): Promise<{ ok: boolean; text: string }> {
    const { status, body } = await this.#get("/readyz");
    return { ok: status === 200, text: body.trim() };
  }

  #get(path: string): Promise<Reply> {
    const [name = ""] = path.split("?");
    const begun = { method: "GET", target: `unix://${this.#socketPath} ${name}` };
    return observed(this.#onRequest, begun, () => this.#ask(path), {
      done: ({ status, body }) => ({ status: String(status), receivedBytes: body.length }),
      failed: kindOf,
    });
  }

  #ask(path: string): Promise<Reply> {
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(this.#timeoutMs)]);
    // An import statement would read every export of node:http, one of which loads all of undici: 80 ms.
    const { request } = process.getBuiltinModule("node:http");
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void => {
        reject(this.#explain(signal.aborted ? signal.reason : cause));
      };
      const sent = request({ socketPath: this.#socketPath, path, signal }, (answer) => {
        readBody(answer).then(resolve, fail);
      });
      sent.on("error", fail);
      sent.end();
    });
  }

  #explain(cause: unknown): TrineError {
    const aborted = kindOf(cause);
    if (aborted === "canceled") return new TrineError("canceled", "interrupted", { cause });
    const kind = aborted === "timeout" ? "timeout" : kindOfConnect(cause);
    const advice =
      kind === "forbidden" ? "run as root" : "is trined running? `trine doctor` tells more";
    const why = kind === "timeout" ? `${this.#timeoutMs} ms` : messageOf(cause);
    const what = `the node daemon does not answer at ${this.#socketPath} (${why}): ${advice}`;
    return new TrineError(kind, what, { cause });
  }
}

function refusal(status: number, body: string): TrineError {
  return new TrineError("internal", `the node daemon: ${body.trim() || `HTTP ${status}`}`);
}

function hasId(pod: PodSummary, prefix: string): boolean {
  return pod.sandboxId.startsWith(prefix) || pod.machine?.containerId?.startsWith(prefix) === true;
}

function kindOfConnect(cause: unknown): ErrorKind {
  const { code } = cause as NodeJS.ErrnoException;
  return code === "EACCES" || code === "EPERM" ? "forbidden" : "unavailable";
}

async function readBody(answer: IncomingMessage): Promise<Reply> {
  const why = `the answer has more than ${MAX_BODY_BYTES} bytes`;
  const body = await readAtMost(answer, MAX_BODY_BYTES, () => new Error(why));
  return { status: answer.statusCode ?? 0, body: body.toString("utf8") };
}

import { kindOf, messageOf } from "@trine/base";
import { type SigningRequest, certify, readRequest } from "@trine/certificates";
import {
  type Cache,
  type CertificateSigningRequest,
  type KubeApi,
  NODES,
  type Node,
  type Outcome,
  SIGNING_REQUESTS,
  type Stored,
} from "@trine/kube-client";
import type { AuthorityState } from "../authority/authority-state.ts";
import { NODE_SIGNER, requestingNode, whyDenied } from "./judge-request.ts";

const DAY_MS = 86_400_000;
const LIFE_MS = 30 * DAY_MS;
/** Shorter is not worth the trouble. */
const MIN_LIFE_MS = 3_600_000;

interface SignerDeps {
  readonly api: Pick<KubeApi, "get" | "update">;
  readonly requests: Cache<CertificateSigningRequest>;
  readonly authority: () => AuthorityState;
  readonly now: () => Date;
  readonly onDecided: (name: string, node: string, why: string | undefined) => void;
}

type Request = Stored<CertificateSigningRequest>;

/**
 * Signs the nodes' certificates: judges a request by who sent it and by what the node is now, approves it or denies it
 * with the reason, and signs what it has approved in the next step. A request that somebody else approved is judged all
 * the same.
 */
export class NodeSigner {
  readonly #deps: SignerDeps;

  constructor(deps: SignerDeps) {
    this.#deps = deps;
  }

  async reconcile(name: string, signal: AbortSignal): Promise<Outcome> {
    const request = this.#deps.requests.get(name);
    if (request === undefined || request.spec.signerName !== NODE_SIGNER) return "settled";
    const isOver = hasCondition(request, "Denied") || hasCondition(request, "Failed");
    if (isOver || (request.status?.certificate ?? "") !== "") return "settled";
    const node = requestingNode(request);
    const { why, asked } = await this.#judge(request, node, signal);
    const isApproved = hasCondition(request, "Approved");
    if (why === undefined && asked !== undefined && isApproved) {
      await this.#sign(request, asked, signal);
      return "settled";
    }
    if (isApproved) await this.#fail(request, why ?? "", signal);
    else await this.#decide(request, why, signal);
    this.#deps.onDecided(name, node ?? "", why);
    return "settled";
  }

  async #judge(
    request: Request,
    node: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly why: string | undefined; readonly asked?: SigningRequest }> {
    if (node === undefined) return { why: "the requester is no node" };
    try {
      const asked = await readRequest(Buffer.from(request.spec.request, "base64").toString());
      const there: Stored<Node> = await this.#deps.api.get(NODES, { name: node }, signal);
      return { why: whyDenied(request, asked, there), asked };
    } catch (cause) {
      if (kindOf(cause) === "invalid") return { why: messageOf(cause) };
      if (kindOf(cause) === "notFound") return { why: `there is no node ${node}` };
      throw cause;
    }
  }

  async #decide(request: Request, why: string | undefined, signal: AbortSignal): Promise<void> {
    const type = why === undefined ? "Approved" : "Denied";
    const message = why ?? "the names and addresses are the node's own";
    await this.#put(request, { type, reason: "NodeSigner", message }, "approval", signal);
  }

  /** Approved by somebody who has not looked: never signed. */
  async #fail(request: Request, message: string, signal: AbortSignal): Promise<void> {
    await this.#put(request, { type: "Failed", reason: "NodeSigner", message }, "status", signal);
  }

  async #put(
    request: Request,
    said: { readonly type: string; readonly reason: string; readonly message: string },
    subresource: "approval" | "status",
    signal: AbortSignal,
  ): Promise<void> {
    const now = this.#deps
      .now()
      .toISOString()
      .replace(/\.\d+Z$/, "Z");
    const times = { lastUpdateTime: now, lastTransitionTime: now };
    const conditions = [
      ...(request.status?.conditions ?? []),
      { ...said, ...times, status: "True" },
    ];
    const changed = { ...request, status: { ...request.status, conditions } };
    await this.#deps.api.update(SIGNING_REQUESTS, changed, { subresource, signal });
  }

  async #sign(request: Request, asked: SigningRequest, signal: AbortSignal): Promise<void> {
    const { publicKey, ...subject } = asked;
    const { expirationSeconds } = request.spec;
    const wanted = expirationSeconds === undefined ? LIFE_MS : expirationSeconds * 1000;
    const lifeMs = Math.min(LIFE_MS, Math.max(MIN_LIFE_MS, wanted));
    const of = {
      subject,
      usages: ["serverAuth"],
      lifeMs,
      nowMs: this.#deps.now().getTime(),
    } as const;
    const pem = await certify(this.#deps.authority().active, of, publicKey);
    const certificate = Buffer.from(pem).toString("base64");
    const signed = { ...request, status: { ...request.status, certificate } };
    await this.#deps.api.update(SIGNING_REQUESTS, signed, { subresource: "status", signal });
  }
}

function hasCondition({ status }: CertificateSigningRequest, type: string): boolean {
  return (status?.conditions ?? []).some((each) => each.type === type);
}

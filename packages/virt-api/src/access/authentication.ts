import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { TrineError } from "@trine/base";
import * as v from "valibot";
import { BoundedCache } from "./bounded-cache.ts";
import {
  type FrontProxySettings,
  type PeerCertificate,
  isFrontProxy,
  userOfHeaders,
} from "./front-proxy.ts";
import type { Reviewer } from "./reviewer.ts";
import type { User } from "./user.ts";

const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";

const reviewed = v.object({
  status: v.object({
    authenticated: v.optional(v.boolean(), false),
    user: v.optional(
      v.object({
        username: v.optional(v.string()),
        uid: v.optional(v.string()),
        groups: v.optional(v.array(v.string()), []),
        extra: v.optional(v.record(v.string(), v.array(v.string())), {}),
      }),
    ),
  }),
});

/** As long as Kubernetes' own delegating servers keep it. */
const KEPT_MS = 10_000;
const MAX_KEPT = 1_000;

export interface AuthenticationDeps {
  readonly reviewer: Reviewer;
  readonly frontProxy: () => FrontProxySettings;
}

/** Says who sends a request: whom the API server in front names, else whose token it carries. */
export class Authentication {
  readonly #deps: AuthenticationDeps;
  readonly #tokens = new BoundedCache<User | undefined>(MAX_KEPT);

  constructor(deps: AuthenticationDeps) {
    this.#deps = deps;
  }

  /** Rejects with `unauthenticated` where the request proves nobody. */
  async identify(request: IncomingMessage): Promise<User> {
    const settings = this.#deps.frontProxy();
    const user = isFrontProxy(settings, peerOf(request.socket))
      ? userOfHeaders(settings, request.headersDistinct)
      : await this.#ofToken(request.headers.authorization);
    if (user === undefined) throw new TrineError("unauthenticated", "Unauthorized");
    return user;
  }

  async #ofToken(header: string | undefined): Promise<User | undefined> {
    const [, token] = /^bearer +(\S+)$/i.exec(header ?? "") ?? [];
    if (token === undefined) return undefined;
    // Tokens are not kept, what they are known by is.
    const key = createHash("sha256").update(token).digest("hex");
    return this.#tokens.get(
      key,
      () => KEPT_MS,
      () => this.#review(token),
    );
  }

  async #review(token: string): Promise<User | undefined> {
    const review = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token },
    };
    const body = JSON.stringify(review);
    const { status } = v.parse(
      reviewed,
      await this.#deps.reviewer.request("POST", REVIEWS, { body }),
    );
    const { username, uid, groups, extra } = status.user ?? { groups: [], extra: {} };
    if (!status.authenticated || username === undefined) return undefined;
    return { name: username, ...(uid !== undefined && { uid }), groups, extra };
  }
}

function peerOf(socket: Socket): PeerCertificate {
  if (!(socket instanceof TLSSocket)) return { authorized: false, commonName: undefined };
  const name: unknown = socket.getPeerX509Certificate()?.toLegacyObject().subject.CN;
  const commonName = typeof name === "string" ? name : undefined;
  return { authorized: socket.authorized, commonName };
}

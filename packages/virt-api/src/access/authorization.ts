import { TrineError } from "@trine/base";
import * as v from "valibot";
import { Refusal } from "../refusals/refusal.ts";
import { BoundedCache } from "./bounded-cache.ts";
import type { Reviewer } from "./reviewer.ts";
import type { User } from "./user.ts";

/** What is asked for, in the words of RBAC. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
}

/** A path that is no resource's. */
export interface PathAttributes {
  readonly verb: string;
  readonly path: string;
}

const REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

const reviewed = v.object({
  status: v.object({
    allowed: v.boolean(),
    denied: v.optional(v.boolean(), false),
    reason: v.optional(v.string(), ""),
  }),
});

/** A right that was taken away ends so late, one that was given begins so late. */
const ALLOWED_MS = 5_000;
const DENIED_MS = 1_000;
const MAX_KEPT = 1_000;

type Asked =
  { readonly resourceAttributes: Attributes } | { readonly nonResourceAttributes: PathAttributes };

interface Verdict {
  readonly allowed: boolean;
  readonly reason: string;
}

/** Asks the API server whether a user may. */
export class Authorization {
  readonly #reviewer: Reviewer;
  readonly #verdicts: BoundedCache<Verdict>;

  constructor(reviewer: Reviewer, now?: () => number) {
    this.#reviewer = reviewer;
    this.#verdicts = new BoundedCache(MAX_KEPT, now);
  }

  /** Rejects with `forbidden` in Kubernetes' words, or with what kept the API server from answering: never lets pass then. */
  async require(user: User, attributes: Attributes): Promise<void> {
    const asked = { resourceAttributes: attributes };
    const { allowed, reason } = await this.#verdict(user, asked);
    if (!allowed) throw forbidden(user, attributes, reason);
  }

  /** The same of a path that is no resource's. */
  async requirePath(user: User, nonResourceAttributes: PathAttributes): Promise<void> {
    const { verb, path } = nonResourceAttributes;
    const { allowed, reason } = await this.#verdict(user, { nonResourceAttributes });
    if (allowed) return;
    const why = reason === "" ? "" : `: ${reason}`;
    const message = `forbidden: User "${user.name}" cannot ${verb} path "${path}"${why}`;
    throw new Refusal("forbidden", { code: 403, reason: "Forbidden", message, details: {} });
  }

  #verdict(user: User, asked: Asked): Promise<Verdict> {
    const key = JSON.stringify([user.name, user.uid, user.groups, user.extra, asked]);
    return this.#verdicts.get(
      key,
      (verdict) => (verdict.allowed ? ALLOWED_MS : DENIED_MS),
      () => this.#review(user, asked),
    );
  }

  async #review(user: User, asked: Asked): Promise<Verdict> {
    const { name, uid, groups, extra } = user;
    const body = JSON.stringify({
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user: name, ...(uid !== undefined && { uid }), groups, extra, ...asked },
    });
    const answer = await this.#reviewer
      .request("POST", REVIEWS, { body })
      .catch((cause: unknown) => {
        throw TrineError.during(`whether ${name} may is not known`, cause);
      });
    const { allowed, denied, reason } = v.parse(reviewed, answer).status;
    return { allowed: allowed && !denied, reason };
  }
}

function forbidden(user: User, attributes: Attributes, reason: string): Refusal {
  const { verb, group, namespace, resource, subresource, name } = attributes;
  const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
  const subject = `${resource}.${group}${name === undefined ? "" : ` "${name}"`} is forbidden`;
  const what = `cannot ${verb} resource "${whole}" in API group "${group}"`;
  const why = reason === "" ? "" : `: ${reason}`;
  const message = `${subject}: User "${user.name}" ${what} in the namespace "${namespace}"${why}`;
  const details = { group, kind: resource, ...(name !== undefined && { name }) };
  return new Refusal("forbidden", { code: 403, reason: "Forbidden", message, details });
}

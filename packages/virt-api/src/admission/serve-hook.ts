import { TrineError, withDeadline } from "@trine/base";
import type { VirtApiDeps } from "../deps.ts";
import { type Answer, json } from "../http/answer.ts";
import { parseBody } from "../http/decode-body.ts";
import { HOOKS } from "./hooks.ts";
import { parseReview, reviewAnswer } from "./review.ts";

/** Both an old and a new object of the size that etcd takes, and what JSON adds. */
export const MAX_REVIEW = 8 * 1024 * 1024;
/** What the API server waits at most, whatever it says. */
const MAX_MS = 30_000;
const USUAL_MS = 10_000;

const BY_PATH: ReadonlyMap<string, (typeof HOOKS)[number]> = new Map(
  HOOKS.map((hook) => [hook.path, hook]),
);

export function isHook(path: string): boolean {
  return BY_PATH.has(path);
}

/** Answers an AdmissionReview in the time that the API server has for it (`?timeout=10s`). */
export async function serveHook(
  deps: VirtApiDeps,
  path: string,
  query: URLSearchParams,
  body: Uint8Array,
): Promise<Answer> {
  const hook = BY_PATH.get(path);
  if (hook === undefined) throw new TrineError("notFound", `there is no webhook ${path}`);
  const request = parseReview(parseBody(body));
  const [, seconds] = /^(\d{1,3})s$/.exec(query.get("timeout") ?? "") ?? [];
  const ms = Math.min(seconds === undefined ? USUAL_MS : Number(seconds) * 1_000, MAX_MS);
  const late = AbortSignal.timeout(ms);
  const work = Promise.resolve(hook.admit(deps, request, late));
  return json(reviewAnswer(request, await withDeadline(hook.name, ms, work)));
}

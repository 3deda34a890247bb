import type { IncomingMessage } from "node:http";
import { TrineError } from "@trine/base";
import { MAX_REVIEW, isHook, serveHook } from "../admission/serve-hook.ts";
import type { VirtApiDeps } from "../deps.ts";
import { publicAnswer } from "../discovery/public-paths.ts";
import type { Answer } from "../http/answer.ts";
import { readBody } from "../http/read-body.ts";
import { parseTarget } from "../http/target.ts";
import { type Access, admitted, serveSubresource } from "./serve-subresource.ts";
import { requestToken, tokenAttributes, tokenNamespace } from "../upload/token-requests.ts";
import { urlOf } from "./url-of.ts";

/** Options are a line; a machine's manifest is no longer than etcd keeps. */
const MAX_BODY = 2 * 1024 * 1024;

/** What a request is answered: documents to everybody, reviews to the API server, the rest to who may. */
export async function respond(
  deps: VirtApiDeps,
  access: Access,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<Answer> {
  const { method = "" } = request;
  const { path, query } = urlOf(request);
  if (method === "GET" || method === "HEAD") {
    const known = publicAnswer(deps, path);
    if (known !== undefined) return known;
  }
  if (isHook(path)) {
    if (method !== "POST") throw new TrineError("unimplemented", "webhooks are asked by POST");
    return serveHook(deps, path, query, await readBody(request, MAX_REVIEW));
  }
  const namespace = tokenNamespace(path);
  if (namespace !== undefined && method === "POST") {
    const user = await access.authentication.identify(request);
    await access.authorization.require(user, tokenAttributes(namespace));
    return requestToken(deps, namespace, await readBody(request, MAX_BODY), signal);
  }
  const target = parseTarget(path);
  // Who may not ask is not told what there is.
  if (target === undefined) {
    await access.authentication.identify(request);
    throw new TrineError("notFound", "the server could not find the requested resource");
  }
  await admitted(access, request, target);
  const body = await readBody(request, MAX_BODY);
  return serveSubresource(deps, method, { target, query, body, signal });
}

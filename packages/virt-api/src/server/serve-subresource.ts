import type { IncomingMessage } from "node:http";
import { TrineError } from "@trine/base";
import type { VirtApiDeps } from "../deps.ts";
import type { Answer } from "../http/answer.ts";
import { type Target, attributesOf } from "../http/target.ts";
import type { Authentication } from "../access/authentication.ts";
import type { Authorization } from "../access/authorization.ts";
import type { User } from "../access/user.ts";
import { badRequest } from "../refusals/refusal.ts";
import { STREAMS } from "../streams/open-stream.ts";
import type { Call, Handle } from "../subresources/call.ts";
import { expandVmSpec } from "../subresources/expand.ts";
import { ROWS } from "../subresources/table.ts";

export interface Access {
  readonly authentication: Authentication;
  readonly authorization: Authorization;
}

const HANDLES: ReadonlyMap<string, Handle> = new Map([
  ["PUT expand-vm-spec", expandVmSpec],
  ...ROWS.map(
    ({ of, name, method, handle }) => [`${method} ${of}/${name}`, handle] as [string, Handle],
  ),
]);

/** `RESOURCE/SUBRESOURCE`, as the tables have it. */
export function keyOf({ resource, subresource }: Target): string {
  return subresource === "" ? resource : `${resource}/${subresource}`;
}

/** Of a key: some method is served, or a stream. */
export function isServed(key: string): boolean {
  return HANDLES.has(`GET ${key}`) || HANDLES.has(`PUT ${key}`) || STREAMS.has(key);
}

/** Who sends a request, if they may. What there is and is not is told to nobody else. */
export async function admitted(
  { authentication, authorization }: Access,
  request: IncomingMessage,
  target: Target,
): Promise<User> {
  const user = await authentication.identify(request);
  const { method = "" } = request;
  const attributes = attributesOf(method, target);
  if (attributes === undefined) {
    throw new TrineError("unimplemented", `method ${method} is not served`);
  }
  await authorization.require(user, attributes);
  return user;
}

/** Answers a request for a subresource of a user who may ask for it. */
export async function serveSubresource(
  deps: VirtApiDeps,
  method: string,
  call: Call,
): Promise<Answer> {
  const key = keyOf(call.target);
  const handle = HANDLES.get(`${method} ${key}`);
  if (handle !== undefined) return handle(deps, call);
  if (STREAMS.has(key) && method === "GET") {
    throw badRequest("Bad Request: a stream begins with an upgrade to WebSocket");
  }
  if (isServed(key)) {
    throw new TrineError("unimplemented", `${key} does not serve ${method}`);
  }
  throw new TrineError("notFound", "the server could not find the requested resource");
}

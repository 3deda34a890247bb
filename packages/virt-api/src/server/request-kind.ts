import { isHook } from "../admission/serve-hook.ts";
import { parseTarget, verbOf } from "../http/target.ts";
import { tokenNamespace } from "../upload/token-requests.ts";
import { isServed, keyOf } from "./serve-subresource.ts";

/** What a request asks for, in few words: whoever counts requests is not to have a series for each that a stranger makes up. */
export interface RequestKind {
  /** As in RBAC; `other` for methods that nobody serves. */
  readonly verb: string;
  /** `RESOURCE/SUBRESOURCE`, `webhook/NAME`, `uploadtokenrequests`; `other` for documents and for what is not served. */
  readonly resource: string;
}

export function requestKind(method: string, path: string): RequestKind {
  return { verb: verbOf(method) ?? "other", resource: resourceOf(path) };
}

function resourceOf(path: string): string {
  if (isHook(path)) return `webhook${path}`;
  if (tokenNamespace(path) !== undefined) return "uploadtokenrequests";
  const target = parseTarget(path);
  if (target === undefined) return "other";
  const key = keyOf(target);
  return isServed(key) ? key : "other";
}

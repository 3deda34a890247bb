import type { IncomingMessage } from "node:http";
import { TrineError } from "@trine/base";

/** Path and query of a request. Paths of ours have nothing that needs decoding: an encoded one is another path. */
export function urlOf({ url = "" }: IncomingMessage): { path: string; query: URLSearchParams } {
  if (!url.startsWith("/")) throw new TrineError("malformed", "the request's target is no path");
  const mark = url.indexOf("?");
  if (mark < 0) return { path: url, query: new URLSearchParams() };
  return { path: url.slice(0, mark), query: new URLSearchParams(url.slice(mark + 1)) };
}

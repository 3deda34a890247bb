import { TrineError } from "@trine/base";
import type { ImportRef } from "./door-imports.ts";

/** What a request's path names. */
export interface DoorPath {
  readonly query: URLSearchParams;
  readonly isMetrics?: true;
  /** Of a pod's container that fills a volume; empty = all of the node's. */
  readonly imports?: Partial<ImportRef>;
  /** Undefined = all machines, where neither imports nor metrics are meant. */
  readonly machine?: {
    readonly namespace: string;
    readonly pod: string;
    readonly uid: string;
    /** The rest of the path, "" for the machine itself. */
    readonly rest: string;
  };
}

const MAX_URL = 2_048;
const IMPORT = /^\/v1\/imports\/([^/]+)\/([^/]+)\/([^/]+)$/;
const MACHINE = /^\/v1\/machines\/([^/]+)\/([^/]+)(?:\/(.+))?$/;

/** Kinds `notFound` for other paths, `invalid` for a machine without its uid. */
export function parseDoorPath(url = ""): DoorPath {
  if (url.length > MAX_URL) throw new TrineError("invalid", "the path is too long");
  const [path = "", search = ""] = url.split("?", 2);
  const query = new URLSearchParams(search);
  if (path === "/v1/machines") return { query };
  if (path === "/v1/metrics") return { query, isMetrics: true };
  if (path === "/v1/imports") return { query, imports: {} };
  const [, of, podOf = "", container = ""] = IMPORT.exec(path) ?? [];
  const [, namespace = of, pod = podOf, rest = ""] = MACHINE.exec(path) ?? [];
  if (namespace === undefined) throw new TrineError("notFound", "no such path");
  const uid = query.get("uid") ?? "";
  if (uid === "") throw new TrineError("invalid", "which pod of that name? ?uid=UID");
  if (of !== undefined) {
    const ref = { namespace: decoded(of), pod: decoded(pod), uid, container: decoded(container) };
    return { query, imports: ref };
  }
  return { query, machine: { namespace: decoded(namespace), pod: decoded(pod), uid, rest } };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new TrineError("invalid", "the path is not encoded as a path is", { cause });
  }
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** As Go writes them: 1h30m, 2.5s, 300ms. Undefined for what is none. */
export function parseDurationMs(text: string): number | undefined {
  if (!/^(\d{1,9}(\.\d{1,9})?(h|ms|m|s))+$/.test(text)) return undefined;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g);
  return parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (UNIT_MS[unit] ?? 0), 0);
}

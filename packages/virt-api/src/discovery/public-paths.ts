import type { VirtApiDeps } from "../deps.ts";
import { type Answer, json, text } from "../http/answer.ts";
import { GROUP, VERSIONS } from "../http/target.ts";
import { DOCUMENTS } from "./documents.ts";
import { openApiV2, openApiV3, openApiV3Index } from "./open-api.ts";

type Public = (deps: VirtApiDeps) => Answer;

const ALIVE: Public = () => text("ok");

/** What is answered to everybody, by path. Clients ask for it before they say who they are. */
const PUBLIC: ReadonlyMap<string, Public> = new Map<string, Public>([
  ["/healthz", ALIVE],
  ["/livez", ALIVE],
  ["/readyz", ALIVE],
  ["/openapi/v2", () => json(openApiV2())],
  ["/openapi/v3", () => json(openApiV3Index())],
  ...VERSIONS.flatMap((version): [string, Public][] => {
    const base = `/apis/${GROUP}/${version}`;
    const gated = (verb: string): Public => {
      const why = `Unable to ${verb}. "ClusterProfiler" feature gate must be enabled`;
      return () => text(why, 403);
    };
    return [
      [`/openapi/v3/apis/${GROUP}/${version}`, () => json(openApiV3(version))],
      [`${base}/version`, (deps) => json(deps.version)],
      [`${base}/guestfs`, (deps) => json(deps.guestfs)],
      [`${base}/healthz`, ALIVE],
      [`${base}/start-cluster-profiler`, gated("start profiler")],
      [`${base}/stop-cluster-profiler`, gated("stop profiler")],
      [`${base}/dump-cluster-profiler`, gated("dump profiler results")],
    ];
  }),
]);

const PATHS = [...DOCUMENTS.keys(), ...PUBLIC.keys()].sort();

/** The answer to a request that needs no right; undefined where it needs one, or there is nothing. */
export function publicAnswer(deps: VirtApiDeps, path: string): Answer | undefined {
  if (path === "/") return json({ paths: PATHS });
  const document = DOCUMENTS.get(path);
  if (document !== undefined) return json(document);
  return PUBLIC.get(path)?.(deps);
}

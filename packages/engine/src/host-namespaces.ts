import { TrineError } from "@trine/base";
import type { Bundle } from "./bundle.ts";
import { list, record } from "./json-shape.ts";

/** By the namespace that CRI leaves out of a sandbox which is to use the host's. */
const SHARED_WITH_HOST = [
  { type: "network", field: "hostNetwork", why: "a microVM has a network stack of its own" },
  { type: "pid", field: "hostPID", why: "its processes run in a kernel of its own" },
  { type: "ipc", field: "hostIPC", why: "its processes run in a kernel of its own" },
] as const;

/** Refuses, kind `invalid`, a sandbox that is to share namespaces with the host. */
export function refuseHostNamespaces({ spec, isPodSandbox }: Bundle, podName: string): void {
  if (!isPodSandbox) return; // of a container that is its own pod they mean nothing
  const namespaces = list(record(spec["linux"])["namespaces"]).map((each) => record(each)["type"]);
  const wrong = SHARED_WITH_HOST.filter(({ type }) => !namespaces.includes(type));
  if (wrong.length === 0) return;
  const reasons = wrong.map(({ field, why }) => `${field}: true is not possible (${why})`);
  throw new TrineError(
    "invalid",
    `pod ${podName}: ${reasons.join("; ")}; remove it or use another RuntimeClass`,
  );
}

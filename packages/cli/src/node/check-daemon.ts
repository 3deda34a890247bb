import { TrineError, messageOf } from "@trine/base";
import type { Check, Finding, Place } from "./finding.ts";
import { NodeClient } from "./node-client.ts";

export const DAEMON_CHECKS: readonly Check[] = [{ name: "trined", run: checkDaemon }];

async function checkDaemon(place: Place, signal: AbortSignal): Promise<Omit<Finding, "name">> {
  try {
    const { ok, text } = await new NodeClient({ stateDir: place.stateDir, signal }).ready();
    return ok
      ? { status: "ok", detail: `ready, state in ${place.stateDir}` }
      : { status: "fail", detail: text, fix: "wait, then look into its log" };
  } catch (cause) {
    const fix =
      cause instanceof TrineError && cause.kind === "forbidden"
        ? "run trine doctor as root"
        : "systemctl start trined; with another stateDir in its configuration set TRINE_STATE";
    return { status: "fail", detail: messageOf(cause), fix };
  }
}

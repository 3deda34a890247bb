import { TrineError, messageOf } from "@trine/base";
import type { Check, Finding, Place } from "./finding.ts";
import { NodeClient } from "./node-client.ts";

export const DAEMON_CHECKS: readonly Check[] = [
  { name: "trined", run: checkDaemon },
  { name: "templates", run: checkTemplates },
  { name: "spares", run: checkSpares },
];

const MIB = 1024 * 1024;

/** What pods go on from, and what it costs while none does. */
async function checkTemplates(place: Place, signal: AbortSignal): Promise<Omit<Finding, "name">> {
  const templates = await new NodeClient({ ...place, signal }).templates();
  if (templates === undefined) return { status: "ok", detail: "this trined makes none" };
  if (templates.length === 0) return { status: "ok", detail: "none now: microvm pods boot" };
  const detail = templates.map(
    ({ cpus, memoryBytes, heldBytes, clones }) =>
      `${cpus} CPU and ${memoryBytes / MIB} MiB: holds ${Math.ceil(heldBytes / MIB)} MiB, ${clones} pods`,
  );
  return { status: "ok", detail: detail.join("; ") };
}

/** How many guests have booted ahead of their pods. */
async function checkSpares(place: Place, signal: AbortSignal): Promise<Omit<Finding, "name">> {
  const client = new NodeClient({ ...place, signal });
  const spares = await client.spares().catch((cause: unknown) => messageOf(cause));
  // The check before says what to do about it.
  if (typeof spares === "string") return { status: "warn", detail: `not known: ${spares}` };
  if (spares === undefined) return { status: "ok", detail: "this trined keeps none" };
  if (spares.length === 0) return { status: "ok", detail: "none are kept (microvms.pool)" };
  const detail = spares
    .map(
      ({ cpus, memoryBytes, ready, wanted, heldBytes }) =>
        `${ready} of ${wanted} with ${cpus} CPU and ${memoryBytes / MIB} MiB are ready and hold ` +
        `${Math.ceil(heldBytes / MIB)} MiB`,
    )
    .join("; ");
  return spares.every(({ ready, wanted }) => ready >= wanted)
    ? { status: "ok", detail }
    : { status: "warn", detail, fix: "trined is making them; if it stays so, its log says why" };
}

async function checkDaemon(place: Place, signal: AbortSignal): Promise<Omit<Finding, "name">> {
  try {
    const { ok, text } = await new NodeClient({ ...place, signal }).ready();
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

import type { QmpClient } from "@trine/qmp";
import { loadState } from "./template-state.ts";

/** A clone's way from waiting to running; a step that was taken before is not taken again. */
export async function goOn(
  client: QmpClient,
  stateDescriptor: number,
  signal: AbortSignal,
): Promise<void> {
  const { status } = await client.execute("query-status", {}, { signal });
  if (status === "inmigrate") await loadState(client, stateDescriptor, signal);
  await client.execute("cont", {}, { signal });
}

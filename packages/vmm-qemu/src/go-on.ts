import { sleep } from "@trine/base";
import type { QmpClient } from "@trine/qmp";
import { loadState } from "./template-state.ts";

const LOOK_MS = 10;

/** A clone's way from waiting to running; a step that was taken before is not taken again. */
export async function goOn(
  client: QmpClient,
  stateDescriptor: number,
  signal: AbortSignal,
): Promise<void> {
  const { status } = await client.execute("query-status", {}, { signal });
  if (status === "inmigrate") await load(client, stateDescriptor, signal);
  await client.execute("cont", {}, { signal });
}

/** What a daemon that has died began is waited for: QEMU takes the command once. */
async function load(client: QmpClient, descriptor: number, signal: AbortSignal): Promise<void> {
  const { status: loading = "none" } = await client.execute("query-migrate", {}, { signal });
  if (loading === "none") {
    await loadState(client, descriptor, signal);
    return;
  }
  for (;;) {
    const { status } = await client.execute("query-status", {}, { signal });
    if (status !== "inmigrate") return;
    await sleep(LOOK_MS, signal);
  }
}

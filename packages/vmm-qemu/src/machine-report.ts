import { messageOf } from "@trine/base";
import type { QmpClient } from "@trine/qmp";
import type { MachineReport } from "@trine/vmm";

const QUERIES = [
  "query-status",
  "query-block",
  "query-cpus-fast",
  "query-chardev",
  "query-memory-size-summary",
] as const;
/** Of one answer as JSON; a machine with many disks and long backing chains has tens of KiB. */
const MAX_ANSWER = 256 * 1024;

/** What QEMU says of the machine. Rejects as the first question did when it answered none. */
export async function readReport(
  client: Pick<QmpClient, "execute">,
  signal: AbortSignal,
): Promise<MachineReport> {
  const asked = QUERIES.map((query) => client.execute(query, {}, { signal }));
  const settled = await Promise.allSettled(asked);
  if (settled.every(({ status }) => status === "rejected")) await asked[0];
  const answers: Record<string, unknown> = {};
  const failures: Record<string, string> = {};
  settled.forEach((result, index) => {
    const query = QUERIES[index] ?? "";
    if (result.status === "rejected") failures[query] = messageOf(result.reason);
    else if (JSON.stringify(result.value).length <= MAX_ANSWER) answers[query] = result.value;
    else failures[query] = `its answer has more than ${MAX_ANSWER} characters`;
  });
  return { answers, failures };
}

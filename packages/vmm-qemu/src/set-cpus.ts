import { TrineError } from "@trine/base";
import type { QmpClient } from "@trine/qmp";
import { VMM_KEY } from "@trine/vmm";
import type { MachineSpec, ProcessHost } from "@trine/vmm";

/**
 * Looks whether the host has what the guest is not to be without, and not what it is not to be with. Kind `wrongState`
 * naming the features.
 */
export async function checkFeatures(
  spec: MachineSpec,
  client: QmpClient,
  signal: AbortSignal,
): Promise<void> {
  const policies = Object.entries(spec.hardware?.cpuFeatures ?? {});
  const isAsked = policies.some(([, policy]) => policy === "require" || policy === "forbid");
  if (!isAsked) return;
  const best = await bestFeatures(spec, client, signal);
  const own = await ownFeatures(client, signal);
  const wrong: string[] = [];
  for (const [name, policy] of policies) {
    if (policy === "require" && !(await own(name))) wrong.push(`has no ${name}`);
    if (policy === "forbid" && best[name] === true) wrong.push(`has ${name}`);
  }
  if (wrong.length === 0) return;
  const how = spec.accelerator === "tcg" ? "emulation" : "the host's CPU";
  throw new TrineError("wrongState", `trine.dev/cpu-features: ${how} ${wrong.join(" and ")}`);
}

/**
 * All that the accelerator can show. What -cpu says of that very model holds for this answer too: so it must not say
 * what is asked for here.
 */
async function bestFeatures(
  { accelerator }: MachineSpec,
  client: QmpClient,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const model = { name: accelerator === "tcg" ? "max" : "host" };
  const question = { type: "full", model } as const;
  const answer = await client.execute("query-cpu-model-expansion", question, { signal });
  return answer.model.props ?? {};
}

/** What the machine's first CPU came to have: what it was told to show and cannot is not there. */
async function ownFeatures(
  client: QmpClient,
  signal: AbortSignal,
): Promise<(name: string) => Promise<boolean>> {
  const [first] = await client.execute("query-cpus-fast", {}, { signal });
  const path = first?.["qom-path"] ?? "";
  return async (property) =>
    (await client.execute("qom-get", { path, property }, { signal })) === true;
}

/** Gives each virtual CPU's thread its CPU, and all other threads theirs. Repeatable. */
export async function pinCpus(
  spec: MachineSpec,
  client: QmpClient,
  host: ProcessHost,
  signal: AbortSignal,
): Promise<void> {
  const { pinning } = spec.hardware ?? {};
  if (pinning === undefined) return;
  const threads = await client.execute("query-cpus-fast", {}, { signal });
  const pinned = threads.flatMap(({ "cpu-index": index, "thread-id": id }) => {
    const cpu = pinning.cpus[index];
    return cpu === undefined ? [] : [{ id, cpus: [cpu] }];
  });
  // Threads that it starts later are born where their parents may run.
  await host.pinThreads(VMM_KEY, [{ id: 0, cpus: pinning.others }, ...pinned]);
}

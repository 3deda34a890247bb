import { resourceOf } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import { VIRTUAL_MACHINE_INSTANCE, type VirtualMachineInstance } from "@trine/kube-types";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { PhaseTimes } from "./phase-times.ts";

const INSTANCES = resourceOf(VIRTUAL_MACHINE_INSTANCE);
const BEGIN = Date.parse("2026-11-22T10:00:00Z");

type Phase = NonNullable<NonNullable<VirtualMachineInstance["status"]>["phase"]>;

/** An instance that comes to phases, each so many seconds after its creation. */
async function told(phases: readonly (readonly [Phase, number])[]): Promise<string> {
  const kube = new MemoryKube({ now: () => BEGIN });
  const registry = new Registry();
  new PhaseTimes(registry).follow(kube.cache(INSTANCES));
  const metadata = { namespace: "shop", name: "a" };
  let now = await kube.create(INSTANCES, { metadata, spec: { domain: { devices: {} } } });
  const times: { phase: Phase; phaseTransitionTimestamp: string }[] = [];
  for (const [phase, after] of phases) {
    const at = new Date(BEGIN + after * 1000).toISOString();
    times.push({ phase, phaseTransitionTimestamp: at });
    const status = { phase, phaseTransitionTimestamps: [...times] };
    now = await kube.update(INSTANCES, { ...now, status });
    // What changes nothing of the phase is not counted.
    now = await kube.update(INSTANCES, {
      ...now,
      metadata: { ...now.metadata, labels: { phase } },
    });
  }
  return registry.metrics();
}

test("each change of phase is counted once, by the times in the status", async () => {
  const text = await told([
    ["Pending", 0],
    ["Scheduling", 1],
    ["Running", 8],
  ]);
  const between = "kubevirt_vmi_phase_transition_time_seconds";
  const created = "kubevirt_vmi_phase_transition_time_from_creation_seconds";
  expect(text).toContain(`${between}_sum{phase="Running",last_phase="Scheduling"} 7\n`);
  expect(text).toContain(`${between}_count{phase="Running",last_phase="Scheduling"} 1\n`);
  expect(text).toContain(`${created}_sum{phase="Running"} 8\n`);
  expect(text).toContain(`${created}_count{phase="Scheduling"} 1\n`);
  expect(text).not.toMatch(/^\S+from_deletion_seconds_count/m);
});

test("a status without times counts nothing", async () => {
  const kube = new MemoryKube();
  const registry = new Registry();
  new PhaseTimes(registry).follow(kube.cache(INSTANCES));
  const metadata = { namespace: "shop", name: "a" };
  const made = await kube.create(INSTANCES, { metadata, spec: { domain: { devices: {} } } });
  await kube.update(INSTANCES, { ...made, status: { phase: "Running" } });
  expect(await registry.metrics()).not.toMatch(/_count\{/);
});

import type { VirtualMachineInstanceStatus, VirtualMachineStatus } from "@trine/kube-types";
import { expect, test } from "vitest";
import type { Seen } from "./seen.ts";
import { backoffSeconds } from "./start-failure.ts";
import { statusOf } from "./status.ts";
import { NOW, instanceIn, machine, seen, volumeIn } from "./testing/samples.ts";

const none = (): number => 0;
const statusIn = (of: Partial<Seen>): VirtualMachineStatus => statusOf(seen(of), undefined, none);

const GOING = { deletionTimestamp: "2026-01-02T04:00:00Z" };
const PAUSED = { type: "Paused", status: "True" };
const unsynchronized = (reason: string): object => ({
  type: "Synchronized",
  status: "False",
  reason,
});
const inPhase = (phase: string, ...conditions: readonly object[]): Partial<Seen> => {
  const status: VirtualMachineInstanceStatus = { phase, conditions: conditions as never };
  return { vmi: instanceIn(status) };
};
const withVolume = (phase: string, ...conditions: readonly object[]): Partial<Seen> => {
  const vm = machine();
  const spec = vm.spec.template.spec;
  if (spec === undefined) throw new Error("a machine without a spec");
  const volumes = [{ name: "root", dataVolume: { name: "dv" } }];
  const template = { spec: { ...spec, volumes } };
  const own = { ...vm, spec: { ...vm.spec, template } };
  return { vm: own, dataVolume: () => volumeIn(phase, conditions) };
};
const RAN = [{ phase: "Running", phaseTransitionTimestamp: "2026-01-02T03:00:00Z" }];
const FAILED_TWICE = { consecutiveFailCount: 2, lastFailedVMIUID: "x" };

/** In KubeVirt's order: each row has what the rows after it have, or could have, too. */
test.each<[string, Partial<Seen>]>([
  ["Terminating", { vm: machine({}, { metadata: GOING }), ...inPhase("Running") }],
  ["Stopping", { vmi: instanceIn({ phase: "Running", conditions: [PAUSED] as never }, GOING) }],
  [
    "Migrating",
    {
      vmi: instanceIn({
        phase: "Running",
        conditions: [PAUSED] as never,
        migrationState: { startTimestamp: "2026-01-02T04:00:00Z" },
      }),
    },
  ],
  ["Paused", inPhase("Running", PAUSED)],
  ["Running", inPhase("Running", unsynchronized("ErrImagePull"))],
  [
    "ErrorPvcNotFound",
    { ...withVolume("Failed"), ...inPhase("Pending", unsynchronized("FailedPvcNotFound")) },
  ],
  ["DataVolumeError", withVolume("Failed")],
  [
    "DataVolumeError",
    withVolume("ImportInProgress", { type: "Running", status: "False", reason: "Error" }),
  ],
  [
    "ErrorUnschedulable",
    {
      ...withVolume("ImportInProgress"),
      ...inPhase("Scheduling", { type: "PodScheduled", status: "False", reason: "Unschedulable" }),
    },
  ],
  ["Provisioning", { ...withVolume("ImportInProgress"), ...inPhase("Pending") }],
  ["Provisioning", withVolume("WaitForFirstConsumer", { type: "Bound", status: "True" })],
  [
    "WaitingForVolumeBinding",
    {
      ...withVolume("WaitForFirstConsumer"),
      claim: () => ({ spec: {}, status: { phase: "Pending" } }),
      ...inPhase("Pending", unsynchronized("ErrImagePull")),
    },
  ],
  ["ErrImagePull", inPhase("Scheduling", unsynchronized("ErrImagePull"))],
  ["ImagePullBackOff", inPhase("Scheduling", unsynchronized("ImagePullBackOff"))],
  [
    "Starting",
    { ...inPhase("Pending"), vm: machine({}, { status: { startFailure: FAILED_TWICE } }) },
  ],
  ["Starting", inPhase("Scheduling")],
  ["Starting", inPhase("Scheduled")],
  [
    "CrashLoopBackOff",
    { vm: machine({ runStrategy: "Always" }, { status: { startFailure: FAILED_TWICE } }) },
  ],
  ["CrashLoopBackOff", inPhase("Failed")],
  ["Stopped", {}],
  ["Stopped", { vmi: instanceIn({ phase: "Succeeded", phaseTransitionTimestamps: RAN }) }],
  ["Stopped", { vm: machine({ runStrategy: "Manual" }), ...inPhase("Failed") }],
  [
    "WaitingForReceiver",
    { vm: machine({ runStrategy: "WaitAsReceiver" }), ...inPhase("WaitingForSync") },
  ],
  ["Unknown", inPhase("Unknown")],
])("%s", (wanted, of) => {
  expect(statusIn(of).printableStatus).toBe(wanted);
});

test("failures to start count once for each instance, and not at all for one that ran", () => {
  const failed = instanceIn({ phase: "Failed" });
  const first = statusIn({ vmi: failed });
  expect(first.startFailure).toEqual({
    consecutiveFailCount: 1,
    lastFailedVMIUID: failed.metadata.uid,
    retryAfterTimestamp: "2026-01-02T04:00:10Z",
  });
  const vm = machine({ runStrategy: "Always" }, { status: first });
  expect(statusIn({ vm, vmi: failed }).startFailure).toEqual(first.startFailure);
  const next = instanceIn({ phase: "Failed" }, { uid: "next" });
  expect(statusIn({ vm, vmi: next }).startFailure).toMatchObject({
    consecutiveFailCount: 2,
    retryAfterTimestamp: "2026-01-02T04:00:40Z",
  });
  const late = instanceIn({ phase: "Failed", phaseTransitionTimestamps: RAN }, { uid: "late" });
  expect(statusIn({ vm, vmi: late }).startFailure).toBeUndefined();
  const manual = machine({ runStrategy: "Manual" }, { status: first });
  expect(statusIn({ vm: manual, vmi: next }).startFailure).toBeUndefined();
});

test.each([
  [1, 0, 10],
  [1, 0.999, 15],
  [2, 0, 40],
  [3, 0.999, 135],
  [5, 0, 250],
  [6, 0, 300],
  [1000, 0.5, 300],
])("after %i failures and chance %d the next try is in %i s", (failures, chance, wanted) => {
  expect(backoffSeconds(failures, () => chance)).toBe(wanted);
});

const READY = { type: "Ready", status: "True", lastTransitionTime: "2026-01-02T03:59:00Z" };
const AGENT = { type: "AgentConnected", status: "True" };

test("conditions are the instance's, and the machine's own", () => {
  const vmi = instanceIn({ phase: "Running", conditions: [READY, AGENT] as never });
  const status = statusOf(seen({ vmi }), { reason: "FailedCreate", message: "no" }, none);
  expect(status).toMatchObject({ created: true, ready: true });
  const now = { lastTransitionTime: "2026-01-02T04:00:00Z" };
  expect(status.conditions).toEqual([
    READY,
    { type: "Failure", status: "True", reason: "FailedCreate", message: "no", ...now },
    { ...AGENT, ...now },
  ]);
  const vm = machine({ runStrategy: "Always" }, { status });
  const later = new Date(NOW.getTime() + 60_000);
  const again = statusOf(seen({ vm, vmi, now: later }), undefined, none);
  expect(again.conditions).toEqual([READY, { ...AGENT, ...now }]);
  const stopped = statusIn({ vm: machine({ runStrategy: "Halted" }, { status: again }) });
  expect(stopped).toMatchObject({ created: false, ready: false });
  expect(stopped.conditions?.map(({ type, reason }) => [type, reason])).toEqual([
    ["Ready", "VMINotExists"],
  ]);
});

const requests = [{ action: "Start" }, { action: "Stop", uid: "u" }];

test.each<[string, Partial<Seen>, number]>([
  ["a start that waits", {}, 2],
  ["a start whose instance is there", inPhase("Pending"), 1],
  ["a start beside an instance that failed", inPhase("Failed"), 2],
  ["a start beside one that goes", { vmi: instanceIn({ phase: "Running" }, GOING) }, 2],
])("of the requests %s is dropped when it is done", (_, of, left) => {
  const vm = machine({ runStrategy: "Manual" }, { status: { stateChangeRequests: requests } });
  expect(statusIn({ ...of, vm }).stateChangeRequests?.length).toBe(left);
});

test.each([
  [undefined, 0],
  [instanceIn({}).metadata.uid, 1],
  ["another", 0],
])("a request to stop %s", (uid, left) => {
  const stop = { action: "Stop", ...(uid !== undefined && { uid }) };
  const vm = machine({ runStrategy: "Manual" }, { status: { stateChangeRequests: [stop] } });
  const status = statusIn({ vm, vmi: instanceIn({ phase: "Running" }) });
  expect(status.stateChangeRequests?.length ?? 0).toBe(left);
  expect(statusIn({ vm }).stateChangeRequests).toBeUndefined();
});

test("the strategy is noted once there was an instance, and RerunOnFailure when it has one", () => {
  expect(statusIn({}).runStrategy).toBeUndefined();
  expect(statusIn(inPhase("Pending")).runStrategy).toBe("Always");
  const vm = machine({ runStrategy: "RerunOnFailure" }, { status: { runStrategy: "Halted" } });
  expect(statusIn({ vm }).runStrategy).toBe("Halted");
  expect(statusIn({ vm, ...inPhase("Pending") }).runStrategy).toBe("RerunOnFailure");
});

test("a changed template needs a restart, and its generation is not the instance's", () => {
  const vm = machine({ runStrategy: "Always" }, { metadata: { generation: 4 } });
  const { template } = vm.spec;
  const annotations = { "kubevirt.io/vm-generation": "2" };
  const vmi = instanceIn({ phase: "Running" }, { annotations });
  const started = { generation: 2, spec: vm.spec, choice: {} };
  const same = statusIn({ vm, vmi, started });
  expect(same).toMatchObject({ observedGeneration: 4, desiredGeneration: 4 });
  expect(same.conditions?.some(({ type }) => type === "RestartRequired")).toBe(false);
  const other = { ...vm.spec, template: { ...template, spec: { domain: { devices: {} } } } };
  const changed = statusIn({ vm, vmi, started: { ...started, spec: other } });
  expect(changed).toMatchObject({ observedGeneration: 2, desiredGeneration: 4 });
  const restart = changed.conditions?.find(({ type }) => type === "RestartRequired");
  expect(restart).toMatchObject({
    status: "True",
    message: "a non-live-updatable field was changed in the template spec",
  });
});

test("another instance type needs a restart only when it makes another machine", () => {
  const vm = machine({ runStrategy: "Always", template: { spec: { domain: { devices: {} } } } });
  const vmi = instanceIn({ phase: "Running" });
  const of = (guest: number) => ({ instancetype: { cpu: { guest }, memory: { guest: "1Gi" } } });
  const started = { generation: 1, spec: vm.spec, choice: of(1) };
  const types = (choice: Seen["choice"]): (string | undefined)[] =>
    statusIn({ vm, vmi, started, choice }).conditions?.map(({ type }) => type) ?? [];
  expect(types(of(1))).not.toContain("RestartRequired");
  expect(types(of(2))).toContain("RestartRequired");
});

test("while an instance type cannot be told, it is said of a restart what was said before", () => {
  const bare = { runStrategy: "Always", template: { spec: { domain: { devices: {} } } } } as const;
  const annotations = { "kubevirt.io/vm-generation": "2" };
  const vmi = instanceIn({ phase: "Running" }, { annotations });
  const choice = { instancetype: { cpu: { guest: 1 }, memory: { guest: "1Gi" } } };
  const required = { type: "RestartRequired", status: "True", message: "by another type" };
  for (const conditions of [[], [required]]) {
    const vm = machine(bare, { metadata: { generation: 4 }, status: { conditions } });
    const started = { generation: 2, spec: vm.spec, choice };
    const status = statusIn({ vm, vmi, started, choice: undefined });
    expect(status.conditions?.filter(({ type }) => type === required.type)).toEqual(conditions);
    expect(status).toMatchObject({ observedGeneration: 2, desiredGeneration: 4 });
  }
});

test("what others write stays", () => {
  const status = {
    snapshotInProgress: "s",
    volumeSnapshotStatuses: [{ name: "v", enabled: true }],
  };
  expect(statusIn({ vm: machine({ runStrategy: "Halted" }, { status }) })).toMatchObject(status);
});

test("of the same it is the same", () => {
  const of = inPhase("Running", READY, AGENT);
  const status = statusIn(of);
  expect(statusIn({ ...of, vm: machine({ runStrategy: "Always" }, { status }) })).toEqual(status);
});

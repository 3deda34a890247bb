import { expect, test } from "vitest";
import { type Step, nextStep } from "./next-step.ts";
import type { Seen } from "./seen.ts";
import { instanceIn, machine, seen, volumeIn } from "./testing/samples.ts";

const PHASES = [
  "",
  "Pending",
  "Scheduling",
  "Scheduled",
  "Running",
  "WaitingForSync",
  "Unknown",
  "Succeeded",
  "Failed",
] as const;
const START = { action: "Start" } as const;
const UID = instanceIn({}).metadata.uid;
const STOP = { action: "Stop", uid: UID } as const;

/** What is done with an instance of each phase: one letter a phase, of `PHASES`. s stop, . nothing, r requestStart. */
const LETTERS: Readonly<Record<string, Step["do"]>> = {
  s: "stop",
  ".": "nothing",
  r: "requestStart",
};

test.each<[string, object[], string]>([
  ["Always", [], ".......ss"],
  ["Always", [STOP], "sssssssss"],
  ["Always", [{ ...STOP, uid: "another" }], ".......ss"],
  ["Always", [START], ".......ss"],
  ["RerunOnFailure", [], ".......sr"],
  ["RerunOnFailure", [STOP], "ssssssssr"],
  ["RerunOnFailure", [START], ".......ss"],
  ["Manual", [], "........."],
  ["Manual", [STOP], "sssssssss"],
  ["Manual", [START], "........."],
  ["Halted", [], "sssssssss"],
  ["Halted", [START], "sssssssss"],
  ["Once", [], "........."],
  ["Once", [STOP], "........."],
])("%s with requests %j and an instance in each phase", (runStrategy, requests, letters) => {
  const status = { stateChangeRequests: requests as never };
  const vm = machine({ runStrategy }, { status });
  const done = PHASES.map((phase) => nextStep(seen({ vm, vmi: instanceIn({ phase }) })).do);
  expect(done).toEqual(Array.from(letters, (letter) => LETTERS[letter]));
});

test.each<[string, object[], string | undefined, Step["do"]]>([
  ["Always", [], undefined, "start"],
  ["Always", [STOP], undefined, "start"],
  ["RerunOnFailure", [], undefined, "start"],
  ["RerunOnFailure", [], "Halted", "start"],
  ["RerunOnFailure", [], "RerunOnFailure", "nothing"],
  ["RerunOnFailure", [START], "RerunOnFailure", "start"],
  ["Manual", [], undefined, "nothing"],
  ["Manual", [START], undefined, "start"],
  ["Manual", [STOP], undefined, "nothing"],
  ["Halted", [], undefined, "nothing"],
  ["Halted", [START], undefined, "runAlways"],
  ["Once", [], undefined, "start"],
  ["WaitAsReceiver", [], undefined, "refuse"],
])(
  "%s with requests %j, %s before and no instance: %4$s",
  (runStrategy, requests, before, wanted) => {
    const status = {
      stateChangeRequests: requests as never,
      ...(before !== undefined && { runStrategy: before }),
    };
    expect(nextStep(seen({ vm: machine({ runStrategy }, { status }) })).do).toBe(wanted);
  },
);

test.each([
  [true, "start"],
  [false, "nothing"],
])("running: %s is a strategy of old", (running, wanted) => {
  expect(nextStep(seen({ vm: machine({ running }) })).do).toBe(wanted);
});

test.each([{}, { running: true, runStrategy: "Always" }, { runStrategy: "Often" }])(
  "%j is no strategy",
  (spec) => {
    expect(() => nextStep(seen({ vm: machine(spec) }))).toThrow(/spec\.run/);
  },
);

test.each(PHASES)("an instance in phase %s that is going already is left to go", (phase) => {
  const vmi = instanceIn({ phase }, { deletionTimestamp: "2026-01-02T04:00:00Z" });
  for (const runStrategy of ["Always", "RerunOnFailure", "Manual", "Halted", "Once"]) {
    const vm = machine({ runStrategy }, { status: { stateChangeRequests: [STOP] } });
    expect(nextStep(seen({ vm, vmi })).do).toBe("nothing");
  }
});

test("a start may be asked for paused", () => {
  const request = { action: "Start", data: { paused: "true" } };
  const vm = machine({ runStrategy: "Manual" }, { status: { stateChangeRequests: [request] } });
  expect(nextStep(seen({ vm }))).toEqual({ do: "start", paused: true });
});

const GOING = { deletionTimestamp: "2026-01-02T04:00:00Z" };
const running = instanceIn({ phase: "Running" });

test.each<[string, Partial<Seen>, Step["do"]]>([
  ["is held before all else", { vm: machine({}, { metadata: { finalizers: [] } }) }, "hold"],
  ["that goes stops its instance", { vm: machine({}, { metadata: GOING }), vmi: running }, "stop"],
  [
    "that goes waits for its instance",
    { vm: machine({}, { metadata: GOING }), vmi: instanceIn({ phase: "Running" }, GOING) },
    "nothing",
  ],
  ["that goes without an instance is let go", { vm: machine({}, { metadata: GOING }) }, "release"],
  [
    "that leaves its instance behind is let go",
    {
      vm: machine(
        {},
        {
          metadata: {
            ...GOING,
            finalizers: ["orphan", "kubevirt.io/virtualMachineControllerFinalize"],
          },
        },
      ),
      vmi: running,
    },
    "release",
  ],
  [
    "that was let go is nothing of ours",
    { vm: machine({}, { metadata: { ...GOING, finalizers: ["foregroundDeletion"] } }) },
    "nothing",
  ],
  ["takes an instance that nobody has", { orphan: running, isTaken: true }, "adopt"],
  ["does not take another's instance", { isTaken: true }, "refuse"],
  [
    "waits after failures",
    {
      vm: machine(
        { runStrategy: "Always" },
        { status: { startFailure: { retryAfterTimestamp: "2026-01-02T04:00:10Z" } } },
      ),
    },
    "wait",
  ],
  [
    "starts when it has waited",
    {
      vm: machine(
        { runStrategy: "Always" },
        { status: { startFailure: { retryAfterTimestamp: "2026-01-02T03:59:59Z" } } },
      ),
    },
    "start",
  ],
  [
    "that must be mended by hand is not started",
    {
      vm: machine(
        { runStrategy: "Always" },
        { status: { conditions: [{ type: "ManualRecoveryRequired", status: "True" }] } },
      ),
    },
    "nothing",
  ],
])("a machine %s", (_, of, wanted) => {
  expect(nextStep(seen(of)).do).toBe(wanted);
});

const template = { metadata: { name: "dv" }, spec: {} };
const LAZY = { annotations: { "kubevirt.io/immediate-data-volume-creation": "false" } };

test.each<[string, string, string | undefined, object, Step["do"]]>([
  ["made before the start", "Always", undefined, {}, "createVolume"],
  ["made of a machine that is halted", "Halted", undefined, {}, "createVolume"],
  ["not made of one that wants them later", "Halted", undefined, LAZY, "nothing"],
  ["made late, but before the start", "Always", undefined, LAZY, "createVolume"],
  ["waited for", "Always", "ImportInProgress", {}, "nothing"],
  ["waited for when they failed", "Always", "Failed", {}, "nothing"],
  ["enough when full", "Always", "Succeeded", {}, "start"],
  ["enough when they wait for the machine", "Always", "WaitForFirstConsumer", {}, "start"],
  ["enough when the machine's pod fills them", "Always", "PendingPopulation", {}, "start"],
])("volumes are %s", (_, runStrategy, phase, metadata, wanted) => {
  const vm = machine({ runStrategy, dataVolumeTemplates: [template] }, { metadata });
  const dataVolume = (): ReturnType<typeof volumeIn> | undefined =>
    phase === undefined ? undefined : volumeIn(phase);
  expect(nextStep(seen({ vm, dataVolume })).do).toBe(wanted);
});

test("a volume that is not ready does not keep a machine from being stopped", () => {
  const vm = machine({ runStrategy: "Halted", dataVolumeTemplates: [template] });
  expect(nextStep(seen({ vm, vmi: running })).do).toBe("stop");
});

test("a claim that a volume left behind is its content", () => {
  const vm = machine({ runStrategy: "Always", dataVolumeTemplates: [template] });
  expect(nextStep(seen({ vm, claim: () => ({ spec: {} }) })).do).toBe("start");
});

test("an instance is told of a generation that changes nothing for it, and of no other", () => {
  const vm = machine({ runStrategy: "Always" }, { metadata: { generation: 3 } });
  const vmi = instanceIn(
    { phase: "Running" },
    { annotations: { "kubevirt.io/vm-generation": "2" } },
  );
  const started = { generation: 2, spec: vm.spec, choice: {} };
  expect(nextStep(seen({ vm, vmi, started })).do).toBe("tellGeneration");
  const other = { ...vm.spec, template: { spec: { domain: { devices: {} } } } };
  const changed = { ...started, spec: other };
  expect(nextStep(seen({ vm, vmi, started: changed })).do).toBe("nothing");
});

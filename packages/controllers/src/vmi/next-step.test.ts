import type { PersistentVolumeClaim, Pod, Stored } from "@trine/kube-client";
import type { MachineReport } from "@trine/node-door";
import type { ByPath } from "@trine/kube-types/testing";
import { describe, expect, test } from "vitest";
import { CLAIMS, SETTINGS, instance, report } from "../testing.ts";
import { asksOf } from "./cpu-memory.ts";
import type { Attempt } from "./growths.ts";
import type { Heard } from "./heard.ts";
import { type Step, nextStep, written } from "./next-step.ts";
import { filledSpec, renderPod } from "./render-pod.ts";
import type { Instance, Seen } from "./seen.ts";

const NOW = new Date("2026-01-02T03:10:00Z");
const HELD: ByPath = { "metadata.finalizers": ["kubevirt.io/foregroundDeleteVirtualMachine"] };
const LEAVING: ByPath = { "metadata.deletionTimestamp": "2026-01-02T03:09:00Z" };

function phase(name: string): ByPath {
  return { "status.phase": name };
}

interface World {
  readonly vmi?: ByPath;
  readonly pod?: object;
  readonly heard?: Heard;
  readonly isFenced?: boolean;
  readonly attempt?: Attempt;
  readonly refused?: string;
}

function look(world: World): Seen {
  const { vmi: fields = {}, pod, heard, isFenced = false, attempt, refused } = world;
  const vmi = instance({ ...HELD, ...fields });
  return {
    ...(refused === undefined ? {} : { refused }),
    ...{ vmi, spec: filledSpec(vmi), heard, isFenced, now: NOW, attempt },
    asks: asksOf(filledSpec(vmi).domain, SETTINGS),
    pod: pod as Stored<Pod> | undefined,
    claim: claimIn,
    dataVolume: (name) => {
      const state = { filling: "ImportInProgress", full: "Succeeded" }[name];
      return state === undefined ? undefined : { spec: {}, status: { phase: state } };
    },
    rendering: pod === undefined ? renderPod(vmi, CLAIMS, SETTINGS) : undefined,
  };
}

/** Claims of DataVolumes, by the volume's name; `told` is filled by what the claim says alone. */
function claimIn(name: string): Stored<PersistentVolumeClaim> | undefined {
  if (!["filling", "full", "told", "unknown"].includes(name)) return undefined;
  const of = { apiVersion: "cdi.kubevirt.io/v1beta1", kind: "DataVolume", name, uid: "dv" };
  const annotations = name === "told" ? { "cdi.kubevirt.io/storage.pod.phase": "Succeeded" } : {};
  const ownerReferences = [{ ...of, controller: true }];
  const metadata = { name, uid: "claim", resourceVersion: "1", annotations, ownerReferences };
  return { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata, spec: {} };
}

function pod(fields: { status?: object; metadata?: object; nodeName?: string } = {}): object {
  const metadata = { name: "pod", namespace: "shop", uid: "pod-uid", resourceVersion: "1" };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, ...fields.metadata },
    spec: {
      containers: [{ name: "compute" }],
      nodeName: fields.nodeName,
      overhead: { memory: "96Mi" },
    },
    status: { phase: "Pending", ...fields.status },
  };
}

const ON_NODE = pod({
  nodeName: "n1",
  status: { phase: "Running", podIPs: [{ ip: "10.1.0.5" }], qosClass: "Burstable" },
});

function heard(fields: Partial<MachineReport> = {}): Heard {
  return { node: "heard", report: report(fields) };
}

function ended(exitCode: number): object {
  const status = {
    phase: "Running",
    containerStatuses: [{ name: "compute", state: { terminated: { exitCode } } }],
  };
  return pod({ nodeName: "n1", status });
}

const LOST_LONG: Heard = { node: "lost", since: new Date("2026-01-02T03:00:00Z") };
const LOST_NOW: Heard = { node: "lost", since: new Date("2026-01-02T03:09:30Z") };

test.each([
  ["dataVolume", (name: string) => ({ dataVolume: { name } })],
  ["persistentVolumeClaim", (name: string) => ({ persistentVolumeClaim: { claimName: name } })],
  ["ephemeral", (name: string) => ({ ephemeral: { persistentVolumeClaim: { claimName: name } } })],
] as const)("by %s, no pod is made before the claim's DataVolume has filled it", (_, volumeOf) => {
  const steps = ["filling", "unknown", "full", "told", "plain"].map((name) => {
    const seen = look({ vmi: { "spec.volumes[0]": { name: "root", ...volumeOf(name) } } });
    return [name, nextStep(seen).do];
  });
  expect(Object.fromEntries(steps)).toEqual({
    ...{ filling: "nothing", unknown: "nothing" },
    ...{ full: "createPod", told: "createPod", plain: "createPod" },
  });
});

/** What is there, what is done, and the phase that is written; undefined: none. */
test.each<[string, World, Step["do"], string | undefined]>([
  ["a new one is held first", { vmi: { "metadata.finalizers": undefined } }, "hold", "Pending"],
  ["then its pod is made", {}, "createPod", "Pending"],
  [
    "one whose volume is being filled waits",
    { vmi: { "spec.volumes[0]": { name: "root", dataVolume: { name: "filling" } } } },
    "nothing",
    "Pending",
  ],
  [
    "one without its claim waits",
    { vmi: { "spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "gone" } } } },
    "nothing",
    "Pending",
  ],
  [
    "one that keeps a TPM has a claim first",
    { vmi: { "spec.domain.devices.tpm": { persistent: true } } },
    "createClaim",
    "Pending",
  ],
  ["one with a pod is Scheduling", { pod: pod() }, "nothing", "Scheduling"],
  [
    "one whose node does not know it is Scheduling",
    { pod: ON_NODE, heard: { node: "heard" } },
    "nothing",
    "Scheduling",
  ],
  [
    "one that begins is Scheduled",
    { pod: ON_NODE, heard: heard({ phase: "starting" }) },
    "nothing",
    "Scheduled",
  ],
  ...(
    [
      ["it is likely to run soon", "2026-01-02T03:09:59.500Z", "wait", "Scheduling"],
      ["it has begun a second ago", "2026-01-02T03:09:59Z", "nothing", "Scheduled"],
      ["its node's clock is another's", "2026-01-02T03:10:00.001Z", "nothing", "Scheduled"],
    ] as const
  ).map(([why, since, step, wanted]): [string, World, Step["do"], string] => [
    `one that begins is ${wanted} where ${why}`,
    { vmi: phase("Scheduling"), pod: ON_NODE, heard: heard({ phase: "starting", since }) },
    step,
    wanted,
  ]),
  [
    "one that was Unknown and begins is Scheduled at once",
    {
      vmi: phase("Unknown"),
      pod: ON_NODE,
      heard: heard({ phase: "starting", since: "2026-01-02T03:09:59.500Z" }),
    },
    "nothing",
    "Scheduled",
  ],
  [
    "one that a silent node had begun is Unknown",
    { vmi: phase("Scheduling"), pod: ON_NODE, heard: { ...heard(), ...LOST_LONG } },
    "nothing",
    "Unknown",
  ],
  [
    "one that runs is Running",
    { vmi: phase("Scheduled"), pod: ON_NODE, heard: heard() },
    "nothing",
    "Running",
  ],
  ["phases may be skipped", { pod: ON_NODE, heard: heard() }, "nothing", "Running"],
  [
    "it does not go back",
    { vmi: phase("Running"), pod: ON_NODE, heard: heard({ phase: "starting" }) },
    "nothing",
    "Running",
  ],
  [
    "nor when its node knows it no more",
    { vmi: phase("Running"), pod: ON_NODE, heard: { node: "heard" } },
    "nothing",
    "Running",
  ],
  [
    "a paused one runs",
    { vmi: phase("Running"), pod: ON_NODE, heard: heard({ phase: "paused" }) },
    "nothing",
    "Running",
  ],
  [
    "a node that is not heard is waited for",
    { vmi: phase("Running"), pod: ON_NODE, heard: LOST_NOW },
    "wait",
    "Running",
  ],
  [
    "and then nothing is known",
    { vmi: phase("Running"), pod: ON_NODE, heard: LOST_LONG },
    "nothing",
    "Unknown",
  ],
  [
    "one that has not begun is not Unknown",
    { vmi: phase("Scheduling"), pod: ON_NODE, heard: LOST_LONG },
    "nothing",
    "Scheduling",
  ],
  [
    "a node that is heard again says how it is",
    { vmi: phase("Unknown"), pod: ON_NODE, heard: heard() },
    "nothing",
    "Running",
  ],
  [
    "and if it knows nothing, the pod will say",
    { vmi: phase("Unknown"), pod: ON_NODE, heard: { node: "heard" } },
    "nothing",
    "Unknown",
  ],
  [
    "a guest that powers off has succeeded",
    { vmi: phase("Running"), pod: ended(0) },
    "nothing",
    "Succeeded",
  ],
  ["one that crashes has failed", { vmi: phase("Running"), pod: ended(137) }, "nothing", "Failed"],
  [
    "its node may say so first",
    { vmi: phase("Running"), pod: ON_NODE, heard: heard({ phase: "stopped" }) },
    "nothing",
    "Succeeded",
  ],
  [
    "and that it failed",
    { vmi: phase("Running"), pod: ON_NODE, heard: heard({ phase: "failed" }) },
    "nothing",
    "Failed",
  ],
  [
    "an evicted pod has failed",
    { vmi: phase("Running"), pod: pod({ status: { phase: "Failed", reason: "Evicted" } }) },
    "nothing",
    "Failed",
  ],
  ["a pod that is gone has failed", { vmi: phase("Running") }, "nothing", "Failed"],
  [
    "a fenced node's machine has failed, and its pod goes",
    { vmi: phase("Running"), pod: ON_NODE, heard: LOST_LONG, isFenced: true },
    "deletePod",
    "Failed",
  ],
  [
    "what has ended stays so",
    { vmi: phase("Failed"), pod: ON_NODE, heard: heard() },
    "nothing",
    "Failed",
  ],
  [
    "one that is to go takes its pod first",
    { vmi: { ...LEAVING, ...phase("Running") }, pod: ON_NODE, heard: heard() },
    "deletePod",
    "Running",
  ],
  [
    "and waits for it",
    { vmi: { ...LEAVING, ...phase("Running") }, pod: leavingPod(30), heard: heard() },
    "nothing",
    "Running",
  ],
  [
    "with less patience when asked",
    {
      vmi: { ...LEAVING, ...phase("Running"), "spec.terminationGracePeriodSeconds": 0 },
      pod: leavingPod(30),
      heard: heard(),
    },
    "deletePod",
    "Running",
  ],
  [
    "and goes when that is gone",
    { vmi: { ...LEAVING, ...phase("Running") } },
    "release",
    "Succeeded",
  ],
  [
    "or its node is fenced",
    {
      vmi: { ...LEAVING, ...phase("Unknown") },
      pod: leavingPod(30),
      heard: LOST_LONG,
      isFenced: true,
    },
    "release",
    "Failed",
  ],
  ["one that never began goes at once", { vmi: LEAVING }, "release", "Pending"],
  [
    "one that was killed while it went has succeeded",
    {
      vmi: { ...LEAVING, ...phase("Running") },
      pod: { ...ended(137), metadata: { ...(leavingPod(30) as { metadata: object }).metadata } },
    },
    "nothing",
    "Succeeded",
  ],
])("%s", (_, world, does, wanted) => {
  const seen = look(world);
  const step = nextStep(seen);
  expect(step.do).toBe(does);
  const after = written(seen, step) ?? seen.vmi;
  expect(after.status?.phase).toBe(wanted);
  const finalizers = after.metadata.finalizers ?? [];
  expect(finalizers).toEqual(does === "release" ? [] : HELD["metadata.finalizers"]);
});

function leavingPod(grace: number): object {
  return pod({
    nodeName: "n1",
    metadata: { deletionTimestamp: "2026-01-02T03:09:01Z", deletionGracePeriodSeconds: grace },
    status: { phase: "Running" },
  });
}

test("with no patience at all a pod has a second, so that it is there until its machine has ended", () => {
  const vmi = { ...LEAVING, ...phase("Running"), "spec.terminationGracePeriodSeconds": 0 };
  const patient = look({ vmi, pod: leavingPod(30), heard: heard() });
  expect(nextStep(patient)).toMatchObject({ do: "deletePod", graceSeconds: 1 });
  const told = look({ vmi, pod: leavingPod(1), heard: heard() });
  expect(nextStep(told)).toEqual({ do: "nothing" });
});

test("containers beside a machine end with it", () => {
  const containerStatuses = [
    { name: "compute", state: { terminated: { exitCode: 0 } } },
    { name: "proxy", state: { running: {} } },
  ];
  const seen = look({
    vmi: phase("Running"),
    pod: pod({ nodeName: "n1", status: { phase: "Running", containerStatuses } }),
  });
  expect(nextStep(seen)).toMatchObject({ do: "deletePod", graceSeconds: 30 });
});

function statusAfter(world: World): NonNullable<Instance["status"]> {
  const seen = look(world);
  return (written(seen, nextStep(seen)) ?? seen.vmi).status ?? {};
}

function conditions(world: World): Readonly<Record<string, string>> {
  const all = statusAfter(world).conditions ?? [];
  return Object.fromEntries(
    all.map(({ type, status, reason }) => [
      type,
      reason === undefined ? status : `${status} ${reason}`,
    ]),
  );
}

const PROBED = { ...phase("Running"), "spec.readinessProbe": { tcpSocket: { port: 22 } } };

function podSaying(...said: object[]): object {
  const podIPs = [{ ip: "10.1.0.5" }];
  return pod({ nodeName: "n1", status: { phase: "Running", podIPs, conditions: said } });
}

test.each<[string, World, Readonly<Record<string, string>>]>([
  ["before it runs", {}, { Ready: "False GuestNotRunning" }],
  [
    "running",
    { pod: ON_NODE, heard: heard() },
    { Ready: "True", LiveMigratable: "False NotImplemented" },
  ],
  [
    "whose pod has no address yet",
    { pod: pod({ nodeName: "n1", status: { phase: "Pending" } }), heard: heard() },
    { Ready: "False PodConditionMissing" },
  ],
  [
    "with a probe that the pod does not answer for",
    { vmi: PROBED, pod: ON_NODE, heard: heard() },
    { Ready: "False PodConditionMissing" },
  ],
  [
    "with a probe that fails",
    {
      vmi: PROBED,
      pod: podSaying({ type: "Ready", status: "False", reason: "ContainersNotReady" }),
      heard: heard(),
    },
    { Ready: "False ContainersNotReady" },
  ],
  [
    "with a probe that holds",
    { vmi: PROBED, pod: podSaying({ type: "Ready", status: "True" }), heard: heard() },
    { Ready: "True" },
  ],
  [
    "with a pod that ends",
    { vmi: phase("Running"), pod: leavingPod(3), heard: heard() },
    { Ready: "False PodTerminating" },
  ],
  ["with a pod that is gone", { vmi: phase("Running") }, { Ready: "False PodNotExists" }],
  [
    "of a node that is silent",
    { vmi: phase("Running"), pod: ON_NODE, heard: LOST_LONG },
    { Ready: "Unknown NodeUnresponsive" },
  ],
  [
    "paused",
    { pod: ON_NODE, heard: heard({ phase: "paused" }) },
    { Ready: "True", Paused: "True PausedByUser" },
  ],
  [
    "that its node has stopped by itself",
    { pod: ON_NODE, heard: heard({ phase: "paused", reason: "a disk is full" }) },
    { Ready: "True", Paused: "True PausedIOError" },
  ],
  [
    "with an agent, emulated",
    {
      pod: ON_NODE,
      heard: heard({ accelerator: "tcg", agent: { connected: true, frozen: false } }),
    },
    { AgentConnected: "True", SoftwareEmulation: "True NoKVM" },
  ],
  [
    "whose guest's users have what they are to have",
    { pod: ON_NODE, heard: heard({ credentials: { synchronized: true } }) },
    { AccessCredentialsSynchronized: "True AccessCredentialsSyncSuccess" },
  ],
  [
    "whose guest has no such user",
    { pod: ON_NODE, heard: heard({ credentials: { synchronized: false, message: "no web" } }) },
    { AccessCredentialsSynchronized: "False AccessCredentialsSyncFailed" },
  ],
  [
    "that fits no node",
    {
      pod: pod({
        status: {
          conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }],
        },
      }),
    },
    { PodScheduled: "False Unschedulable" },
  ],
  [
    "without its image",
    {
      pod: pod({
        nodeName: "n1",
        status: {
          containerStatuses: [
            { name: "compute", state: { waiting: { reason: "ImagePullBackOff" } } },
          ],
        },
      }),
      heard: { node: "heard" },
    },
    { Synchronized: "False ImagePullBackOff" },
  ],
  [
    "without its claim",
    { vmi: { "spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "gone" } } } },
    { Synchronized: "False FailedPvcNotFound" },
  ],
  [
    "that cannot be",
    { vmi: { "spec.architecture": "arm64" } },
    { Synchronized: "False FailedCreate" },
  ],
  [
    "while a volume is filled",
    { vmi: { "spec.volumes[0]": { name: "root", dataVolume: { name: "filling" } } } },
    { DataVolumesReady: "False NotAllDVsReady", Provisioning: "True DataVolumesNotReady" },
  ],
  [
    "whose volumes are filled, and whose pod a quota refuses",
    {
      vmi: {
        "spec.volumes[0]": { name: "root", dataVolume: { name: "full" } },
        "status.conditions[0]": { type: "DataVolumesReady", status: "False" },
        "status.conditions[1]": { type: "Provisioning", status: "True" },
      },
      refused: "exceeded quota",
    },
    { DataVolumesReady: "True AllDVsReady", Synchronized: "False FailedCreate" },
  ],
  [
    "with fields that nobody follows",
    { vmi: { "spec.domain.devices.interfaces[0].tag": "red" } },
    { "trine.dev/InertFields": "True NotActedOn" },
  ],
])("conditions of one %s", (_, world, wanted) => {
  const said = conditions(world);
  expect(said).toMatchObject(wanted);
  const usual = ["Ready", "LiveMigratable", "DataVolumesReady", ...Object.keys(wanted)];
  expect(Object.keys(said).filter((type) => !usual.includes(type))).toEqual([]);
});

test("conditions of others stay, and times change only with what they are of", () => {
  const before = [
    {
      type: "Ready",
      status: "True",
      lastTransitionTime: "2026-01-01T00:00:00Z",
      lastProbeTime: null,
    },
    { type: "somebody.dev/Else", status: "True" },
    { type: "Paused", status: "True" },
  ];
  const world = {
    vmi: { ...phase("Running"), "status.conditions": before },
    pod: ON_NODE,
    heard: heard(),
  };
  const after = statusAfter(world).conditions ?? [];
  expect(after.find(({ type }) => type === "Ready")).toEqual(before[0]);
  expect(after).toContainEqual(before[1]);
  expect(after.some(({ type }) => type === "Paused")).toBe(false);
});

describe("what is told of a machine that runs", () => {
  const guest = heard({
    interfaces: [
      {
        name: "eth0",
        mac: "02:00:00:00:00:01",
        addresses: ["fe80::1", "10.0.2.2", "2001:db8::1"],
        fromGuest: true,
        guestName: "ens1",
      },
      { name: "net7", mac: "02:00:00:00:00:02", addresses: ["192.168.1.2"], fromGuest: false },
    ],
    agent: { connected: true, frozen: true, os: { id: "debian", prettyName: "Debian 12" } },
    memory: { guestBytes: 1024 ** 3, overheadBytes: 61 * 1024 ** 2 + 5 },
    disks: [{ name: "root", path: "/x", bytes: 4096 }],
    cpus: { sockets: 2, cores: 1, threads: 1 },
  });

  test("where it is, its memory, its disks and its guest", () => {
    expect(statusAfter({ vmi: phase("Scheduled"), pod: ON_NODE, heard: guest })).toMatchObject({
      nodeName: "n1",
      activePods: { "pod-uid": "n1" },
      qosClass: "Burstable",
      machine: { type: "q35" },
      phaseTransitionTimestamps: [
        { phase: "Running", phaseTransitionTimestamp: "2026-01-02T03:10:00Z" },
      ],
      currentCPUTopology: { sockets: 2, cores: 1, threads: 1 },
      memory: {
        guestAtBoot: "1Gi",
        guestCurrent: "1Gi",
        guestRequested: "1Gi",
        memoryOverhead: "62Mi",
      },
      volumeStatus: [{ name: "root", target: "vda", phase: "Ready", size: 4096 }],
      guestOSInfo: { id: "debian", prettyName: "Debian 12" },
      fsFreezeStatus: "frozen",
    });
  });

  test("behind masquerade the pod's addresses", () => {
    expect(statusAfter({ pod: ON_NODE, heard: guest }).interfaces).toEqual([
      {
        name: "default",
        mac: "02:00:00:00:00:01",
        ipAddress: "10.1.0.5",
        ipAddresses: ["10.1.0.5"],
        interfaceName: "ens1",
        podInterfaceName: "eth0",
        infoSource: "domain, guest-agent",
        queueCount: 1,
        linkState: "up",
      },
      {
        mac: "02:00:00:00:00:02",
        ipAddress: "192.168.1.2",
        ipAddresses: ["192.168.1.2"],
        podInterfaceName: "net7",
        infoSource: "domain",
        queueCount: 1,
        linkState: "up",
      },
    ]);
  });

  test("with the pod's own address the guest's others after it, those of a link last", () => {
    const vmi = { "spec.domain.devices.interfaces[0]": { name: "default", bridge: {} } };
    const [first] = statusAfter({ vmi, pod: ON_NODE, heard: guest }).interfaces ?? [];
    expect(first?.ipAddresses).toEqual(["10.1.0.5", "10.0.2.2", "2001:db8::1", "fe80::1"]);
  });

  test("a link that is down, and one that only the node knows", () => {
    const vmi = { "spec.domain.devices.interfaces[0].state": "down" };
    const found = statusAfter({ vmi, pod: ON_NODE, heard: guest }).interfaces ?? [];
    expect(found.map(({ linkState }) => linkState)).toEqual(["down", "up"]);
  });

  test("a guest with more addresses than anybody needs is cut short", () => {
    const addresses = Array.from({ length: 64 }, (_, index) => `10.9.0.${index}`);
    const many = heard({
      interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", addresses, fromGuest: true }],
    });
    const vmi = { "spec.domain.devices.interfaces[0]": { name: "default", bridge: {} } };
    expect(
      statusAfter({ vmi, pod: ON_NODE, heard: many }).interfaces?.[0]?.ipAddresses,
    ).toHaveLength(16);
  });

  test("an overhead that moves a little is not written anew, one that has grown is", () => {
    const told = (memoryOverhead: string) =>
      statusAfter({
        vmi: { ...phase("Running"), "status.memory": { memoryOverhead } },
        pod: ON_NODE,
        heard: guest,
      }).memory?.memoryOverhead;
    expect(told("70Mi")).toBe("70Mi");
    expect(told("96Mi")).toBe("62Mi");
  });

  test("until it is measured the overhead is what the RuntimeClass charges", () => {
    expect(statusAfter({ pod: ON_NODE, heard: heard() }).memory?.memoryOverhead).toBe("96Mi");
  });

  test("the label says its node", () => {
    const seen = look({ pod: ON_NODE, heard: guest });
    expect(written(seen, nextStep(seen))?.metadata.labels).toEqual({
      "kubevirt.io/nodeName": "n1",
    });
  });
});

test("a look at what is written already writes nothing", () => {
  const first = look({ pod: ON_NODE, heard: heard() });
  const vmi = written(first, nextStep(first));
  if (vmi === undefined) throw new Error("nothing was written");
  const again = { ...first, vmi, now: new Date("2026-01-03T00:00:00Z") };
  expect(written(again, nextStep(again))).toBeUndefined();
});

test.each([
  ["it is charged and then measured", "96Mi", 50, undefined],
  ["it moves", "50Mi", 113, undefined],
  ["it has grown", "50Mi", 114, "114Mi"],
  ["it has shrunk", "200Mi", 136, "136Mi"],
  ["nothing was charged for it", undefined, 50, "50Mi"],
])("no write for a machine's overhead alone, unless it is news: %s", (_, told, mib, wanted) => {
  const first = look({ pod: ON_NODE, heard: heard() });
  const made = written(first, nextStep(first));
  if (made?.status?.memory === undefined) throw new Error("nothing was written");
  const others = Object.entries(made.status.memory).filter(([name]) => name !== "memoryOverhead");
  const before = { ...Object.fromEntries(others), ...(told && { memoryOverhead: told }) };
  const vmi = { ...made, status: { ...made.status, memory: before } };
  const measured = heard({ memory: { guestBytes: 2 ** 30, overheadBytes: mib * 2 ** 20 } });
  const seen = { ...first, vmi, heard: measured };
  expect(written(seen, nextStep(seen))?.status?.memory?.memoryOverhead).toBe(wanted);
  // With any other news it is told as it is, as far as it has changed at all.
  const report = { ...measured.report, agent: { connected: true, frozen: false } };
  const more = { ...seen, heard: { ...measured, report } as Heard };
  const after = written(more, nextStep(more))?.status?.memory?.memoryOverhead;
  expect(after).toBe(`${mib}Mi`);
});

test("a node that has not been heard yet takes nothing back of what it said before", () => {
  const first = look({ pod: ON_NODE, heard: heard({ agent: { connected: true, frozen: false } }) });
  const vmi = written(first, nextStep(first));
  if (vmi === undefined) throw new Error("nothing was written");
  expect(vmi.status?.conditions?.map(({ type }) => type)).toContain("AgentConnected");
  const started: typeof first = {
    ...first,
    vmi,
    heard: { node: "lost", since: first.now },
  };
  expect(written(started, nextStep(started))).toBeUndefined();
});

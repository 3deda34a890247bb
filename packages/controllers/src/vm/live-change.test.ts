import {
  CLUSTER_DEFAULTS,
  type ClusterDefaults,
  type VirtualMachineInstanceSpec,
  type VirtualMachineInstanceStatus,
  defaultInstanceSpec,
} from "@trine/kube-types";
import { type ByPath, withFields } from "@trine/kube-types/testing";
import { expect, test } from "vitest";
import type { LiveChange, Seen } from "./seen.ts";
import { instanceIn, machine, seen } from "./testing/samples.ts";

const BASE = withFields(machine().spec.template.spec ?? {}, {
  "domain.memory": { guest: "1Gi" },
}) as VirtualMachineInstanceSpec;
const VMI_UUID = { "domain.firmware.uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223" };

const at = (fields: ByPath): VirtualMachineInstanceSpec =>
  withFields(BASE, fields) as VirtualMachineInstanceSpec;

/** A machine that was started as `then`, whose instance has `has` since, and whose template is `now`. */
function change(
  { then = {}, has = {}, now = {} }: { then?: ByPath; has?: ByPath; now?: ByPath },
  status: VirtualMachineInstanceStatus = {},
  defaults: Partial<ClusterDefaults> = {},
): LiveChange {
  const all = { ...CLUSTER_DEFAULTS, ...defaults };
  const spec = defaultInstanceSpec(at({ ...VMI_UUID, ...then }), all, "uuid");
  const vmi = {
    ...instanceIn({ phase: "Running", ...status }),
    spec: withFields(spec, has) as VirtualMachineInstanceSpec,
  };
  const vm = machine({ template: { spec: at(now) } });
  const started = { generation: 1, spec: { template: { spec: at(then) } }, choice: {} };
  return seen({ vm, vmi, started, defaults: all }).change;
}

const SOCKETS = "domain.cpu.sockets";
const GUEST = "domain.memory.guest";
const TWO = { [SOCKETS]: 2 };
const GROWN = { currentCPUTopology: { sockets: 2, cores: 1, threads: 1 } };
const ZONE = { nodeSelector: { zone: "a" } };

test.each<[string, Parameters<typeof change>[0], VirtualMachineInstanceStatus?]>([
  ["nothing", {}],
  ["what there is in other words", { now: { [GUEST]: "1024Mi", "domain.cpu": { cores: 1 } } }],
  ["a growth that the instance has", { now: TWO, has: TWO }],
  ["a growth that its guest has", { now: TWO, has: TWO }, GROWN],
  ["a place that the instance has", { now: ZONE, has: ZONE }],
])("is none for %s", (_, of, status) => {
  expect(change(of, status)).toEqual({ kind: "none" });
});

const PATH = "/spec/domain/cpu/sockets";
const MEMORY = "/spec/domain/memory/guest";

test.each<[string, Parameters<typeof change>[0], readonly unknown[]]>([
  [
    "more sockets",
    { now: TWO },
    [
      { op: "test", path: PATH, value: 1 },
      { op: "add", path: PATH, value: 2 },
    ],
  ],
  [
    "more memory",
    { now: { [GUEST]: "3Gi" } },
    [
      { op: "test", path: MEMORY, value: "1Gi" },
      { op: "add", path: MEMORY, value: "3Gi" },
    ],
  ],
  [
    "a growth taken back that the guest has not had",
    { has: TWO },
    [
      { op: "test", path: PATH, value: 2 },
      { op: "add", path: PATH, value: 1 },
    ],
  ],
  ["a place", { now: ZONE }, [{ op: "add", path: "/spec/nodeSelector", value: { zone: "a" } }]],
  [
    "no place any more",
    { then: ZONE },
    [
      { op: "test", path: "/spec/nodeSelector", value: { zone: "a" } },
      { op: "remove", path: "/spec/nodeSelector" },
    ],
  ],
  [
    "tolerations",
    { now: { tolerations: [{ key: "k", operator: "Exists" }] } },
    [{ op: "add", path: "/spec/tolerations", value: [{ key: "k", operator: "Exists" }] }],
  ],
])("is live for %s", (_, of, operations) => {
  const status = of.has === TWO ? { currentCPUTopology: { sockets: 1 } } : {};
  expect(change(of, status)).toEqual({ kind: "live", operations });
  expect(change(of, status, { rolloutStrategy: "Stage" })).toMatchObject({
    kind: "restart",
    why: expect.stringContaining("Stage") as string,
  });
});

const OTHERS = "a non-live-updatable field was changed in the template spec";

test.each<[string, Parameters<typeof change>[0], string, VirtualMachineInstanceStatus?]>([
  ["another field", { now: { hostname: "other" } }, OTHERS],
  ["another field beside a growth", { now: { ...TWO, hostname: "other" } }, OTHERS],
  ["cores", { now: { "domain.cpu.cores": 2 } }, OTHERS],
  ["other limits", { now: { "domain.cpu": { sockets: 1, maxSockets: 8 } } }, OTHERS],
  ["requests", { now: { "domain.resources": { requests: { cpu: "2" } } } }, OTHERS],
  ["more sockets than there is room for", { now: { [SOCKETS]: 5 } }, "5 CPU sockets are more"],
  [
    "more sockets than a machine can have",
    {
      then: { "domain.cpu": { sockets: 1, cores: 2, maxSockets: 200 } },
      now: { "domain.cpu": { sockets: 128, cores: 2, maxSockets: 200 } },
    },
    "128 CPU sockets are more",
  ],
  ["more memory than there is room for", { now: { [GUEST]: "5Gi" } }, "memory of 5Gi is more"],
  ["fewer sockets than the guest has", { has: TWO }, "1 CPU sockets are fewer than the 2", GROWN],
  [
    "less memory than the guest has",
    { then: { [GUEST]: "2Gi" }, now: { [GUEST]: "1Gi" } },
    "memory of 1Gi is less than the 2Gi",
  ],
  [
    "sockets of a machine with CPUs of its own",
    {
      then: { "domain.cpu": { sockets: 1, dedicatedCpuPlacement: true } },
      now: { "domain.cpu": { sockets: 2, dedicatedCpuPlacement: true } },
    },
    "CPUs of its own",
  ],
  [
    "memory of a machine with CPUs of its own",
    {
      then: { "domain.cpu": { sockets: 1, dedicatedCpuPlacement: true } },
      now: { "domain.cpu": { sockets: 1, dedicatedCpuPlacement: true }, [GUEST]: "2Gi" },
    },
    "CPUs of its own",
  ],
  [
    "memory of a machine of huge pages",
    {
      then: { "domain.memory": { guest: "1Gi", hugepages: { pageSize: "2Mi" } } },
      now: { "domain.memory": { guest: "2Gi", hugepages: { pageSize: "2Mi" } } },
    },
    "huge pages",
  ],
])("needs a restart for %s", (_, of, why, status) => {
  expect(change(of, status)).toEqual({
    kind: "restart",
    why: expect.stringContaining(why) as string,
  });
});

test("an instance type counts as what it makes of the template", () => {
  const bare = machine({ template: { spec: { domain: { devices: {} } } } });
  const type = (guest: number, memory: string): NonNullable<Seen["choice"]> => ({
    instancetype: { cpu: { guest }, memory: { guest: memory } },
  });
  const running = instanceIn({ phase: "Running" });
  const own = { domain: { devices: {}, cpu: { sockets: 1 }, memory: { guest: "1Gi" } } };
  const vmi = { ...running, spec: defaultInstanceSpec(own, CLUSTER_DEFAULTS, "uuid") };
  const started = { generation: 1, spec: bare.spec, choice: type(1, "1Gi") };
  const to = (choice: Seen["choice"]): string =>
    seen({ vm: bare, vmi, started, choice }).change.kind;
  expect(to(type(1, "1Gi"))).toBe("none");
  expect(to(type(2, "2Gi"))).toBe("live");
  expect(to(type(8, "2Gi"))).toBe("restart");
});

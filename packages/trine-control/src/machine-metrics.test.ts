import type { Stored } from "@trine/kube-client";
import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import { expect, test } from "vitest";
import { ControlMetrics } from "./metrics.ts";

const metadata = {
  namespace: "shop",
  uid: "1",
  resourceVersion: "1",
  creationTimestamp: "2026-01-02T03:04:05Z",
};

function instance(name: string, phase: string, nodeName: string): Stored<VirtualMachineInstance> {
  const annotations = { "vm.kubevirt.io/os": "debian" };
  return {
    metadata: { ...metadata, name, annotations },
    spec: {},
    status: { phase, nodeName },
  } as unknown as Stored<VirtualMachineInstance>;
}

function machine(name: string, printableStatus: string): Stored<VirtualMachine> {
  return {
    metadata: { ...metadata, name },
    spec: {
      instancetype: { name: "u1.small" },
      template: { spec: { domain: { machine: { type: "q35" } } } },
    },
    status: {
      printableStatus,
      conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-02T03:05:00Z" }],
    },
  } as unknown as Stored<VirtualMachine>;
}

const all = {
  instances: {
    list: () => [
      instance("a", "Running", "n1"),
      instance("b", "Running", "n1"),
      instance("c", "Failed", "n2"),
    ],
  },
  machines: { list: () => [machine("a", "Running"), machine("z", "CrashLoopBackOff")] },
  evictionStrategy: () => undefined,
};

test("counts instances by phase and names each of them and each machine", async () => {
  const metrics = new ControlMetrics(() => true, "1.2.3");
  metrics.tellMachines(all);
  const lines = (await metrics.render()).split("\n");
  const of = (name: string): string[] => lines.filter((line) => line.startsWith(`${name}{`));
  expect(of("kubevirt_info")).toEqual(['kubevirt_info{kubeversion="v1.2.3"} 1']);
  const [running = "", failed = ""] = of("kubevirt_vmi_phase_count");
  expect(running).toMatch(/node="n1",phase="running",os="debian".*} 2$/);
  expect(failed).toMatch(/node="n2",phase="failed".*} 1$/);
  expect(of("kubevirt_vmi_info")).toHaveLength(3);
  const [info = ""] = of("kubevirt_vm_info");
  expect(info).toContain('name="a",machine_type="q35"');
  expect(info).toContain(
    'instance_type="u1.small",preference="<none>",status="running",status_group="running"',
  );
  const since = Date.parse("2026-01-02T03:05:00Z") / 1000;
  expect(of("kubevirt_vm_error_status_last_transition_timestamp_seconds")).toEqual([
    `kubevirt_vm_error_status_last_transition_timestamp_seconds{namespace="shop",name="a"} 0`,
    `kubevirt_vm_error_status_last_transition_timestamp_seconds{namespace="shop",name="z"} ${since}`,
  ]);
});

test("tells of each instance that runs whether it holds its node up", async () => {
  const movable = { conditions: [{ type: "LiveMigratable", status: "True" }] };
  const that = (name: string, evictionStrategy: string | undefined, more: object = {}) => {
    const { metadata: of, status } = instance(name, "Running", "n1");
    const made = { metadata: of, spec: { evictionStrategy }, status: { ...status, ...more } };
    return made as unknown as Stored<VirtualMachineInstance>;
  };
  const list = () => [
    that("stays", "LiveMigrate"),
    that("moves", "LiveMigrate", movable),
    that("ends", "None"),
    that("cluster", undefined),
    that("over", "LiveMigrate", { phase: "Succeeded" }),
  ];
  const metrics = new ControlMetrics(() => true, "1.2.3");
  metrics.tellMachines({ ...all, instances: { list }, evictionStrategy: () => "LiveMigrate" });
  const lines = (await metrics.render()).split("\n");
  const at = (name: string): string =>
    `kubevirt_vmi_non_evictable{node="n1",namespace="shop",name="${name}"}`;
  expect(lines.filter((line) => line.startsWith("kubevirt_vmi_non_evictable{"))).toEqual([
    ...[`${at("stays")} 1`, `${at("moves")} 0`, `${at("ends")} 0`, `${at("cluster")} 1`],
  ]);
});

test("only the one that leads tells of machines", async () => {
  let isLeading = true;
  const metrics = new ControlMetrics(() => isLeading, "1.2.3");
  metrics.tellMachines(all);
  expect(await metrics.render()).toContain("kubevirt_vmi_info{");
  isLeading = false;
  expect(await metrics.render()).not.toMatch(/kubevirt_vmi?_info{/);
});

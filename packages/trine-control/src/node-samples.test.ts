import { expect, test } from "vitest";
import { nodeSamples } from "./node-samples.ts";

const PODS = [
  { namespace: "shop", name: "virt-launcher-web-x7k2p" },
  { namespace: "shop", name: "plain" },
];

function kept(...lines: readonly string[]): readonly string[] {
  const told = nodeSamples(`${lines.join("\n")}\n`, "n1", PODS);
  expect(told.endsWith("\n")).toBe(true);
  return told.trimEnd().split("\n");
}

const leftOut = (lines: number) => `# ${lines} lines were left out: they are not of this node`;

test("what is its own stays, and says of which node it is", () => {
  expect(
    kept(
      "# HELP trine_machines Machines, by state.",
      "# TYPE trine_machines gauge",
      'trine_machines{state="running"} 2',
      "trined_process_resident_memory_bytes 1.5e+8",
      'trine_task_call_seconds_bucket{le="+Inf",method="Create",outcome="ok"} 3',
      'trine_machine_memory_bytes{namespace="shop",pod="plain"} +Inf',
      'kubevirt_vmi_memory_resident_bytes{node="n1",namespace="shop",name="web"} NaN',
      'trine_guest_starts_total{how="a \\"b\\" \\\\ {c} \\n",why=""} 0.5',
    ),
  ).toEqual([
    "# HELP trine_machines Machines, by state.",
    "# TYPE trine_machines gauge",
    'trine_machines{node="n1",state="running"} 2',
    'trined_process_resident_memory_bytes{node="n1"} 1.5e+8',
    'trine_task_call_seconds_bucket{node="n1",le="+Inf",method="Create",outcome="ok"} 3',
    'trine_machine_memory_bytes{node="n1",namespace="shop",pod="plain"} +Inf',
    'kubevirt_vmi_memory_resident_bytes{node="n1",namespace="shop",name="web"} NaN',
    'trine_guest_starts_total{node="n1",how="a \\"b\\" \\\\ {c} \\n",why=""} 0.5',
  ]);
});

const OF = 'namespace="shop",name="web"';

test.each([
  ["another's family", "up 1"],
  ["a kubelet's", 'container_cpu_usage_seconds_total{namespace="shop",pod="plain"} 1'],
  ["an alert", 'ALERTS{alertname="a"} 1'],
  ["help of another's", "# HELP up It is up."],
  ["the control plane's own", "trine_control_leading 1"],
  ["what the API says", `kubevirt_vmi_info{node="n1",${OF}} 1`],
  ["what follows from that", `kubevirt_vmi_non_evictable{node="n1",${OF}} 0`],
  ["a count of phases", 'kubevirt_vmi_phase_count{node="n1",phase="running"} 9'],
  ["a machine's state", 'kubevirt_vm_info{namespace="shop",name="web"} 1'],
  ["another node", 'trine_machines{node="n2",state="running"} 2'],
  ["two nodes", 'trine_machines{node="n1",node="n2"} 2'],
  ["another job", 'trine_machines{job="kubelet"} 2'],
  ["another instance", 'trine_machines{instance="n2"} 2'],
  ["a machine of another node", 'kubevirt_vmi_memory_resident_bytes{namespace="shop",name="db"} 1'],
  ["another namespace's", 'kubevirt_vmi_memory_resident_bytes{namespace="bank",name="web"} 1'],
  ["no namespace", 'kubevirt_vmi_memory_resident_bytes{name="web"} 1'],
  ["no machine", 'kubevirt_vmi_memory_resident_bytes{node="n1"} 1'],
  ["a namespace alone", 'trine_machines{namespace="bank"} 1'],
  ["another's pod", 'trine_machine_memory_bytes{namespace="shop",pod="other"} 1'],
  ["one that is two", `trine_machine_memory_bytes{${OF},pod="other"} 1`],
  ["a time", 'trine_machines{state="running"} 2 1700000000000'],
  ["no value", "trine_machines"],
  ["no number", "trine_machines two"],
  ["no end", 'trine_machines{state="running} 2'],
  ["a second set", 'trine_machines{state="a"} 2} 3'],
  ["no comma", 'trine_machines{state="a"node="n2"} 2'],
  ["a carriage return", "trine_machines 1\r"],
  ["much", `trine_machines{state="${"a".repeat(20_000)}"} 1`],
])("%s is left out", (_, line) => {
  expect(kept(line)).toEqual([leftOut(1)]);
});

test("a name that is written another way is not another's", () => {
  // "bank\n" is no name of a namespace, and "\u0000" none of a label.
  expect(kept('trine_machines{node="n1",ex\u0000="a"} 1')).toEqual([leftOut(1)]);
  expect(
    kept('kubevirt_vmi_memory_resident_bytes{namespace="shop\\n",name="web"} 1', "", 'up{a="b"} 1'),
  ).toEqual([leftOut(2)]);
});

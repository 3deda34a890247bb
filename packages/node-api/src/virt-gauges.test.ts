import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { type FiguresOf, VirtGauges } from "./virt-gauges.ts";

const figures: FiguresOf["figures"] = {
  guest: {
    cpus: 2,
    cpuNs: 2_500_000_000n,
    memory: { totalBytes: 1024, freeBytes: 256, majorFaults: 3 },
    vcpus: [
      { id: 0, ns: 1_500_000_000n, delayNs: 250_000_000n },
      { id: 1, ns: 1_000_000_000n },
    ],
    disks: [
      {
        ...{ name: "root", readBytes: 10n, writtenBytes: 20n, reads: 1n, writes: 2n, flushes: 3n },
        ...{ readNs: 4_000_000_000n, writeNs: 5_000_000_000n, flushNs: 500_000_000n },
      },
    ],
  },
  network: undefined,
  host: { vmmBytes: 4096, shimBytes: 7, cpu: { userSeconds: 2, systemSeconds: 0.5 } },
};
const traffic = (bytes: number) => ({ bytes, packets: 2, errors: 3, drops: 4 });

const of = (name: string): FiguresOf => ({ pod: { podNamespace: "shop", name }, figures });

test("tells of machines of instances by KubeVirt's names, and of no others", async () => {
  const registry = new Registry();
  const gauges = new VirtGauges("n1", registry);
  gauges.update([of("virt-launcher-my-vm-x7k2p"), of("by-hand")]);
  // Read twice: what has been counted is not counted again.
  gauges.update([of("virt-launcher-my-vm-x7k2p")]);
  const text = await registry.metrics();
  const at = 'node="n1",namespace="shop",name="my-vm"';
  expect(text).toContain(`kubevirt_vmi_cpu_usage_seconds_total{${at}} 2.5\n`);
  expect(text).toContain(`kubevirt_vmi_memory_domain_bytes{${at}} 1024\n`);
  expect(text).toContain(`kubevirt_vmi_memory_unused_bytes{${at}} 256\n`);
  expect(text).toContain(`kubevirt_vmi_storage_iops_write_total{${at},drive="root"} 2\n`);
  expect(text).toContain(
    `kubevirt_vmi_storage_flush_times_seconds_total{${at},drive="root"} 0.5\n`,
  );
  expect(text).toContain(`kubevirt_vmi_vcpu_seconds_total{${at},id="0",state="running"} 1.5\n`);
  expect(text).toContain(`kubevirt_vmi_vcpu_seconds_total{${at},id="1",state="running"} 1\n`);
  expect(text).toContain(`kubevirt_vmi_vcpu_delay_seconds_total{${at},id="0"} 0.25\n`);
  expect(text).not.toContain(`kubevirt_vmi_vcpu_delay_seconds_total{${at},id="1"}`);
  expect(text).toContain("# TYPE kubevirt_vmi_cpu_usage_seconds_total counter\n");
  expect(text).not.toContain("by-hand");
  // What the guest or the node does not say is not told as nothing.
  expect(text).not.toMatch(/^kubevirt_vmi_(network|memory_cached)\S*\{/m);
});

test("what a guest's agent says is told as it was said last, and else not at all", async () => {
  const registry = new Registry();
  const gauges = new VirtGauges("n1", registry);
  const root = { diskName: "vda1", mountPoint: '/ "\n', type: "ext4", totalBytes: 9, usedBytes: 0 };
  const usage = { fileSystems: [root], load: { 1: 0.5, 5: 0.25, 15: 0 } };
  const memory = { totalBytes: 1024, seenBytes: 1000, availableBytes: 300 };
  const [vcpu] = figures.guest.vcpus;
  const vcpus = vcpu === undefined ? [] : [{ ...vcpu, waitNs: 1_500_000_000n }];
  const guest = { ...figures.guest, memory, vcpus };
  const pod = { podNamespace: "shop", name: "virt-launcher-my-vm-x7k2p" };
  gauges.update([{ pod, figures: { ...figures, guest, usage } }]);
  const text = await registry.metrics();
  const at = 'node="n1",namespace="shop",name="my-vm"';
  const file = String.raw`disk_name="vda1",file_system_type="ext4",mount_point="/ \"\n"`;
  expect(text).toContain(`kubevirt_vmi_filesystem_capacity_bytes{${at},${file}} 9\n`);
  expect(text).toContain(`kubevirt_vmi_filesystem_used_bytes{${at},${file}} 0\n`);
  expect(text).toContain(`kubevirt_vmi_guest_load_1m{${at}} 0.5\n`);
  expect(text).toContain(`kubevirt_vmi_guest_load_15m{${at}} 0\n`);
  expect(text).toContain(`kubevirt_vmi_memory_used_bytes{${at}} 700\n`);
  expect(text).toContain(`kubevirt_vmi_vcpu_wait_seconds_total{${at},id="0"} 1.5\n`);
  gauges.update([of("virt-launcher-my-vm-x7k2p")]);
  expect(await registry.metrics()).not.toMatch(
    /^kubevirt_vmi_(filesystem|guest_load|memory_used|vcpu_wait)\S*\{/m,
  );
});

test("each card is told apart", async () => {
  const registry = new Registry();
  const links = ["tap0", "tap1"].map((name, index) => ({
    ...{ name, received: traffic(10 + index), sent: traffic(20 + index) },
  }));
  const network = { receivedBytes: 21, sentBytes: 41, links };
  const whose = { podNamespace: "shop", name: "virt-launcher-a-1" };
  new VirtGauges("n1", registry).update([{ pod: whose, figures: { ...figures, network } }]);
  const text = await registry.metrics();
  const at = 'node="n1",namespace="shop",name="a"';
  expect(text).toContain(`kubevirt_vmi_network_receive_bytes_total{${at},interface="tap0"} 10\n`);
  expect(text).toContain(`kubevirt_vmi_network_transmit_bytes_total{${at},interface="tap1"} 21\n`);
  expect(text).toContain(
    `kubevirt_vmi_network_receive_packets_dropped_total{${at},interface="tap1"} 4\n`,
  );
});

test("a machine that is gone is not told any more", async () => {
  const registry = new Registry();
  const gauges = new VirtGauges("n1", registry);
  gauges.update([of("virt-launcher-a-1")]);
  gauges.update([]);
  expect(await registry.metrics()).not.toMatch(/^kubevirt_\S*\{/m);
});

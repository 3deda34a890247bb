// What a Prometheus of the cluster reads: of the control plane, and of a node through it; and what `kubectl top` is made of.
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { expect, test } from "vitest";
import { LONG_MS, type MachinesUnderTest, machine } from "./machines-under-test.ts";
import { scrape } from "./scrape.ts";

const ACCOUNT = join(import.meta.dirname, "../deploy/monitoring/account.yaml");
const SYSTEM = ["-n", "trine-system"];

export function metricsTests(at: () => MachinesUnderTest): void {
  test(
    "a machine's figures are read by who may, of its node through the control plane",
    async () => {
      const { kubectl, cluster } = at();
      await kubectl.run(...SYSTEM, "apply", "-f", ACCOUNT);
      const token = (await kubectl.run(...SYSTEM, "create", "token", "trine-scrape")).trim();
      const authority = ["configmap", "trine-authority", "-o", "jsonpath={.data.ca\\.crt}"];
      const ca = await kubectl.run("-n", "kube-public", "get", ...authority);
      const { metrics } = cluster.control;
      const own = (await kubectl.run("create", "token", "default")).trim();
      expect((await scrape(metrics, { ca })).code).toBe(401);
      expect((await scrape(metrics, { ca, token: own })).code).toBe(403);

      await at().create(machine("measured", "Always"));
      await at().booted("measured");
      const name = 'namespace="default",name="measured"';
      const ofNode = `${metrics}/nodes/${cluster.nodeName}`;
      expect((await scrape(ofNode, { ca, token: own })).code).toBe(403);
      const { code, text } = await scrape(ofNode, { ca, token });
      expect(code).toBe(200);
      expect(text).toMatch(seriesOf("kubevirt_vmi_storage_read_times_seconds_total", name));
      expect(text).toMatch(seriesOf("kubevirt_vmi_vcpu_seconds_total", name));
      expect(text).toMatch(seriesOf("kubevirt_vmi_network_transmit_packets_total", name));
      await pollUntil("the control plane tells of it", { ms: LONG_MS, everyMs: 500 }, async () => {
        const { text: told } = await scrape(metrics, { ca, token });
        const phases = "kubevirt_vmi_phase_transition_time_from_creation_seconds_count";
        const running = new RegExp(`^${phases}\\{phase="Running"\\} [1-9]`, "m");
        return (told.includes('name="measured"') && running.test(told)) || undefined;
      });
      // What `kubectl top` needs: metrics-server reads this path of each kubelet.
      const resource = `/api/v1/nodes/${cluster.nodeName}/proxy/metrics/resource`;
      const { name: pod } = (await at().pod("measured")).metadata;
      const compute = `container="compute",namespace="default",pod="${pod}"`;
      await pollUntil("kubelet tells what it uses", { ms: LONG_MS, everyMs: 1_000 }, async () => {
        const told = await kubectl.run("get", "--raw", resource);
        const isThere = ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"]
          .map((metric) => new RegExp(`^${metric}\\{${compute}\\} [0-9.e+-]*[1-9]`, "m"))
          .every((series) => series.test(told));
        return isThere || undefined;
      });
      await at().delete("vm", "measured");
    },
    2 * LONG_MS,
  );
}

/** More than nothing of it was counted. */
function seriesOf(metric: string, labels: string): RegExp {
  return new RegExp(`^${metric}\\{[^}]*${labels}[^}]*\\} [0-9.e-]*[1-9]`, "m");
}

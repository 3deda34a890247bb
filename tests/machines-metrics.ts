// What a Prometheus of the cluster reads: of the control plane, and of a node through it; and what `kubectl top` is made of.
import { join } from "node:path";
import { messageOf, pollUntil } from "@trine/base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LONG_MS, type MachinesUnderTest, machine } from "./machines-under-test.ts";
import { startMetricsServer } from "./metrics-server.ts";
import { scrape } from "./scrape.ts";

const ACCOUNT = join(import.meta.dirname, "../deploy/monitoring/account.yaml");
const SYSTEM = ["-n", "trine-system"];
/** The API server has asked a webhook before it took the machine. */
const ASKED =
  /^trine_control_api_request_seconds_count\{verb="create",resource="webhook\/virtualmachines-mutate",code="200"\} [1-9]/m;

export function metricsTests(at: () => MachinesUnderTest): void {
  let endMetricsServer: (() => Promise<void>) | undefined;

  beforeAll(async () => {
    endMetricsServer = await startMetricsServer(at().cluster);
  }, 3_600_000);

  afterAll(async () => {
    await endMetricsServer?.();
  });

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
      // qemu-ga of the guest says how full it is; one of 7.2 says no load.
      const root = new RegExp(
        `^kubevirt_vmi_filesystem_used_bytes\\{[^}]*${name},[^}]*mount_point="/"[^}]*\\} [1-9]`,
        "m",
      );
      await pollUntil("its guest says how full it is", { ms: LONG_MS, everyMs: 500 }, async () => {
        const { text: told } = await scrape(ofNode, { ca, token });
        return root.test(told) || undefined;
      });
      await pollUntil("the control plane tells of it", { ms: LONG_MS, everyMs: 500 }, async () => {
        const { text: told } = await scrape(metrics, { ca, token });
        const phases = "kubevirt_vmi_phase_transition_time_from_creation_seconds_count";
        const running = new RegExp(`^${phases}\\{phase="Running"\\} [1-9]`, "m");
        const all = [/name="measured"/, running, ASKED];
        return all.every((series) => series.test(told)) || undefined;
      });
      await untilTopShows(at(), (await at().pod("measured")).metadata.name);
      await at().delete("vm", "measured");
    },
    2 * LONG_MS,
  );
}

/** `kubectl top` of a machine's pod and of its node: the guest has memory and its vCPUs have run; of the node both too. */
async function untilTopShows({ kubectl, cluster }: MachinesUnderTest, pod: string): Promise<void> {
  const shown = /^(?:\S+ +)+?[1-9]\d*m +(?:[1-9]\d*% +)?[1-9]\d*Mi/m;
  const top = (...words: readonly string[]): Promise<string> =>
    // It fails until it has seen a pod twice.
    kubectl.run("top", ...words, "--no-headers").catch(messageOf);
  let told: readonly string[] = [];
  try {
    await pollUntil("kubectl top shows them", { ms: LONG_MS, everyMs: 1_000 }, async () => {
      told = [await top("pod", pod, "--containers"), await top("node", cluster.nodeName)];
      return told.every((text) => shown.test(text)) || undefined;
    });
  } catch (cause) {
    throw new Error(told.join("\n"), { cause });
  }
  const [ofPod = ""] = told;
  const [, , mebibytes] = /^\S+ +compute +(\d+)m +(\d+)Mi/m.exec(ofPod) ?? [];
  // A guest of 128 MiB: more is not told of it.
  expect(Number(mebibytes)).toBeLessThanOrEqual(128);
}

/** More than nothing of it was counted. */
function seriesOf(metric: string, labels: string): RegExp {
  return new RegExp(`^${metric}\\{[^}]*${labels}[^}]*\\} [0-9.e-]*[1-9]`, "m");
}

// Two nodes on one machine, each with a kubelet, a containerd and a trined of its own: machines on both, and a node that is lost.
import { KubeCluster, killProcesses, tinyGuestImage } from "@trine/testkit";
import type { KubeNode } from "@trine/testkit";
import { pollUntil } from "@trine/base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LONG_MS, MachinesUnderTest, instanceSpec, machine } from "./machines-under-test.ts";

const SECOND = "node-2";
const TAINT = "node.kubernetes.io/out-of-service";
const HOST = "kubernetes.io/hostname";
/** A node is lost after 40 s, its machines are Unknown after 60, and its pods are cleared every 20. */
const LOST_MS = 300_000;

let at: MachinesUnderTest;
let second: KubeNode;

beforeAll(async () => {
  const image = await tinyGuestImage();
  at = await MachinesUnderTest.of(await KubeCluster.start({ machines: true }));
  second = await at.cluster.addNode(SECOND);
  for (const { trine } of at.cluster.nodes) await trine.containerd.importImage(image);
}, 3_600_000);

afterAll(async () => {
  at.virtctl.close();
  expect(await at.cluster.stop()).toEqual([]);
}, 2 * LONG_MS);

/** On the second node where it can be. */
const PREFERS_SECOND = {
  nodeAffinity: {
    preferredDuringSchedulingIgnoredDuringExecution: [
      {
        weight: 100,
        preference: { matchExpressions: [{ key: HOST, operator: "In", values: [SECOND] }] },
      },
    ],
  },
};

test(
  "a replica set's instances are spread over both nodes, and each is heard from its own",
  async () => {
    const labels = { app: "spread" };
    const constraint = {
      ...{ maxSkew: 1, topologyKey: HOST, whenUnsatisfiable: "DoNotSchedule" },
      labelSelector: { matchLabels: labels },
    };
    const spec = instanceSpec({ spec: { topologySpreadConstraints: [constraint] } });
    await at.create({
      apiVersion: "kubevirt.io/v1",
      kind: "VirtualMachineInstanceReplicaSet",
      metadata: { name: "spread" },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec },
      },
    });
    const list = (): Promise<{ items: readonly { status?: Record<string, unknown> }[] }> =>
      at.kubectl.get("vmi", "--selector=app=spread");
    const nodes = await pollUntil("both run", { ms: LONG_MS, everyMs: 500 }, async () => {
      const { items } = await list();
      const running = items.filter(({ status }) => status?.["phase"] === "Running");
      return running.length === 2 ? running.map(({ status }) => status?.["nodeName"]) : undefined;
    });
    expect(nodes.sort()).toEqual([at.cluster.nodeName, SECOND]);
    await at.delete("vmirs", "spread");
    await pollUntil("both are gone", { ms: LONG_MS, everyMs: 500 }, async () =>
      (await list()).items.length === 0 ? true : undefined,
    );
  },
  3 * LONG_MS,
);

test(
  "a machine of a lost node is Unknown and nowhere else, until the node is said to be out of service",
  async () => {
    await at.create(
      machine("moves", "Always", instanceSpec({ spec: { affinity: PREFERS_SECOND } })),
    );
    const before = await at.booted("moves");
    expect(before.status?.nodeName).toBe(SECOND);
    const [pod] = await at.pods("moves");

    await second.killKubelet();
    await second.trine.killTrined();
    await at.untilInstance(
      "moves",
      "Unknown",
      ({ status }) => status?.phase === "Unknown",
      LOST_MS,
    );
    await pollUntil("the node is lost", { ms: LOST_MS, everyMs: 500 }, async () => {
      const node = await at.kubectl.get<{
        status: { conditions: { type: string; status: string }[] };
      }>("node", SECOND);
      const ready = node.status.conditions.find(({ type }) => type === "Ready");
      return ready?.status === "Unknown" ? true : undefined;
    });
    // It may run still: nobody knows, so that there is no other.
    expect((await at.pods("moves")).map(({ metadata }) => metadata.uid)).toEqual([
      pod?.metadata.uid,
    ]);
    expect((await at.instance("moves")).metadata.uid).toBe(before.metadata.uid);

    // Whoever says so has ended what ran there.
    await killProcesses(second.trine.containerd.cgroupParent);
    await at.kubectl.run("taint", "nodes", SECOND, `${TAINT}=nodeshutdown:NoExecute`);
    const after = await at.untilInstance(
      "moves",
      "runs elsewhere",
      ({ metadata, status }) => metadata.uid !== before.metadata.uid && status?.phase === "Running",
      LOST_MS,
    );
    expect(after.status?.nodeName).toBe(at.cluster.nodeName);
    // The other's object goes by Kubernetes' own collector, some time after the taint.
    const here = (await at.pods("moves")).filter(({ spec }) => spec.nodeName !== SECOND);
    expect(here).toHaveLength(1);

    await second.trine.startTrined();
    await second.startKubelet();
    await second.untilReady();
    await at.kubectl.run("taint", "nodes", SECOND, `${TAINT}-`);
    // The node that is back takes machines again, and has not brought the old one along.
    await at.create(
      machine("comes", "Always", instanceSpec({ spec: { affinity: PREFERS_SECOND } })),
    );
    expect((await at.booted("comes")).status?.nodeName).toBe(SECOND);
    expect((await at.instance("moves")).metadata.uid).toBe(after.metadata.uid);
    await at.delete("vm", "comes", "moves");
  },
  4 * LOST_MS,
);

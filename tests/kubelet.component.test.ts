// Trine under Kubernetes itself: the real API server, controllers, scheduler and kubelet, on a node of the test's own.
import { join } from "node:path";
import {
  DIST,
  KubeCluster,
  agnhostImage,
  busyboxImage,
  microvmConfig,
  microvmGuest,
  tinyGuestImage,
} from "@trine/testkit";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { agentTests } from "./kubelet-agent.ts";
import { changeTests } from "./kubelet-changes.ts";
import { gvisorTests } from "./kubelet-gvisor.ts";
import { MachineImages, machineTests, startMachine } from "./kubelet-machines.ts";
import { KubeUnderTest, LONG_MS } from "./kubelet-pods.ts";
import { probeTests } from "./kubelet-probes.ts";
import { SOAK } from "./node-under-test.ts";
import { streamTests } from "./kubelet-streams.ts";
import { volumeTests } from "./kubelet-volumes.ts";

describe("pods of Kubernetes", { timeout: 2 * LONG_MS }, () => {
  let kube: KubeUnderTest;
  let machines: MachineImages;

  beforeAll(async () => {
    const images = [await busyboxImage(), await agnhostImage(), await tinyGuestImage()];
    machines = await MachineImages.start();
    // kubelet is on the gateway's socket, and each of these tests proves the gateway too.
    const cluster = await KubeCluster.start({
      config: [
        microvmConfig(await microvmGuest()),
        `machines: { agent: ${join(DIST, "bin/trine-agent")} }`,
      ].join("\n"),
      gateway: machines.config,
    });
    kube = new KubeUnderTest(cluster);
    for (const image of images) await cluster.node.containerd.importImage(image);
    // It boots while other tests run.
    await startMachine(kube, machines);
  }, 3_600_000);

  afterAll(async () => {
    const left = await kube.cluster.stop();
    await machines.stop();
    expect(left).toEqual([]);
  }, LONG_MS);

  describe("streams", () => {
    streamTests(() => kube);
  });
  describe("machines", () => {
    machineTests(
      () => kube,
      () => machines,
    );
  });
  describe("gVisor", () => {
    gvisorTests(() => kube);
  });
  if (!SOAK) return; // the others take longer than CI has
  describe("volumes", () => {
    volumeTests(() => kube);
  });
  describe("probes", () => {
    probeTests(
      () => kube,
      () => join(kube.cluster.node.dir, "traces"),
    );
  });
  describe("a machine with our agent", () => {
    agentTests(() => kube);
  });
  describe("changes", () => {
    changeTests(() => kube);
  });
});

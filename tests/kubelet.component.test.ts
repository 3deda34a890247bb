// Trine under Kubernetes itself: the real API server, controllers, scheduler and kubelet, on a node of the test's own.
import { join } from "node:path";
import {
  KubeCluster,
  agnhostImage,
  busyboxImage,
  microvmConfig,
  microvmGuest,
  tinyGuestImage,
} from "@trine/testkit";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { changeTests } from "./kubelet-changes.ts";
import { KubeUnderTest, LONG_MS } from "./kubelet-pods.ts";
import { probeTests } from "./kubelet-probes.ts";
import { SOAK } from "./node-under-test.ts";
import { streamTests } from "./kubelet-streams.ts";
import { volumeTests } from "./kubelet-volumes.ts";

describe("pods of Kubernetes", { timeout: 2 * LONG_MS }, () => {
  let kube: KubeUnderTest;

  beforeAll(async () => {
    const images = [await busyboxImage(), await agnhostImage(), await tinyGuestImage()];
    // kubelet is on the gateway's socket, and each of these tests proves the gateway too.
    const cluster = await KubeCluster.start({
      config: microvmConfig(await microvmGuest()),
      gateway: [],
    });
    kube = new KubeUnderTest(cluster);
    for (const image of images) await cluster.node.containerd.importImage(image);
  }, 3_600_000);

  afterAll(async () => {
    expect(await kube.cluster.stop()).toEqual([]);
  }, LONG_MS);

  describe("streams", () => {
    streamTests(() => kube);
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
  describe("changes", () => {
    changeTests(() => kube);
  });
});

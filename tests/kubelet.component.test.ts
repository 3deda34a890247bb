// Trine under Kubernetes itself: the real API server, controllers, scheduler and kubelet, on a node of the test's own.
import { readFile } from "node:fs/promises";
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
import { changeObjects, changeTests } from "./kubelet-changes.ts";
import { KubeUnderTest, LONG_MS } from "./kubelet-pods.ts";
import { probeObjects, probeTests } from "./kubelet-probes.ts";
import { SOAK } from "./node-under-test.ts";
import { streamObjects, streamTests } from "./kubelet-streams.ts";
import { volumeObjects, volumeTests } from "./kubelet-volumes.ts";

describe("pods of Kubernetes", { timeout: 2 * LONG_MS }, () => {
  let kube: KubeUnderTest;

  beforeAll(async () => {
    const [busybox, agnhost, tiny] = [
      await busyboxImage(),
      await agnhostImage(),
      await tinyGuestImage(),
    ];
    const cluster = await KubeCluster.start({ config: microvmConfig(await microvmGuest()) });
    kube = new KubeUnderTest(cluster);
    for (const image of [busybox, agnhost, tiny]) await cluster.node.containerd.importImage(image);
    await kube.kubectl.apply(...(await streamObjects()));
    if (!SOAK) return;
    await kube.kubectl.apply(
      ...(await volumeObjects(cluster)),
      ...probeObjects(traces()),
      ...changeObjects(tiny.name),
    );
  }, 3_600_000);

  afterAll(async () => {
    expect(await kube.cluster.stop()).toEqual([]);
  }, LONG_MS);

  const traces = (): string => join(kube.cluster.node.dir, "traces");

  streamTests(() => kube);
  if (!SOAK) return; // a dozen guests that start at once are too much for CI's time
  volumeTests(() => kube);
  probeTests(
    () => kube,
    (pod) => readFile(join(traces(), pod), "utf8"),
  );
  changeTests(() => kube);
});

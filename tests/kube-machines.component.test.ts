// Machines by kubectl and virtctl, end to end: Kubernetes itself, Trine's control plane and node, QEMU. One cluster for all.
import { createImageStore } from "@trine/containerd-client";
import { putEmptyImage } from "@trine/image-import";
import { KubeCluster, busyboxImage, tinyGuestImage } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { bootTests } from "./machines-boot.ts";
import { faultTests } from "./machines-faults.ts";
import { growthTests } from "./machines-growth.ts";
import { lifeTests } from "./machines-life.ts";
import { madeTests } from "./machines-made.ts";
import { metricsTests } from "./machines-metrics.ts";
import { LONG_MS, MachinesUnderTest } from "./machines-under-test.ts";
import { uploadTests } from "./machines-uploads.ts";
import { verbTests } from "./machines-verbs.ts";
import { volumeTests } from "./machines-volumes.ts";

describe("machines of Kubernetes", () => {
  let at: MachinesUnderTest;

  beforeAll(async () => {
    const images = [await busyboxImage(), await tinyGuestImage()];
    at = await MachinesUnderTest.of(await KubeCluster.start({ machines: true }));
    const { containerd } = at.cluster.node;
    for (const image of images) await containerd.importImage(image);
    // As `trine install` puts it on nodes: pods that fill volumes have it too.
    const store = createImageStore(containerd.socket, "k8s.io");
    await putEmptyImage(store, "amd64", AbortSignal.timeout(LONG_MS));
    store.close();
  }, 3_600_000);

  afterAll(async () => {
    at.virtctl.close();
    expect(await at.cluster.stop()).toEqual([]);
  }, LONG_MS);

  describe("life", () => {
    lifeTests(() => at);
  });
  describe("verbs", () => {
    verbTests(() => at);
  });
  describe("growth", () => {
    growthTests(() => at);
  });
  describe("what makes them", () => {
    madeTests(() => at);
  });
  describe("boot", () => {
    bootTests(() => at);
  });
  describe("volumes", () => {
    volumeTests(() => at);
  });
  describe("uploads", () => {
    uploadTests(() => at);
  });
  describe("metrics", () => {
    metricsTests(() => at);
  });
  // Last: they end what the others need.
  describe("faults", () => {
    faultTests(() => at);
  });
});

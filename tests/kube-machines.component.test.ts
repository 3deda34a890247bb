// Machines by kubectl and virtctl, end to end: Kubernetes itself, Trine's control plane and node, QEMU. One cluster for all.
import { KubeCluster, busyboxImage, tinyGuestImage } from "@trine/testkit";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { faultTests } from "./machines-faults.ts";
import { lifeTests } from "./machines-life.ts";
import { madeTests } from "./machines-made.ts";
import { metricsTests } from "./machines-metrics.ts";
import { LONG_MS, MachinesUnderTest } from "./machines-under-test.ts";
import { uploadTests } from "./machines-uploads.ts";
import { verbTests } from "./machines-verbs.ts";
import { volumeTests } from "./machines-volumes.ts";

/** What `trine install` puts on nodes: pods that fill volumes have it too. */
const EMPTY_IMAGE = "trine.dev/machine:latest";
const BUSYBOX = "trine.test/busybox:1";

describe("machines of Kubernetes", () => {
  let at: MachinesUnderTest;

  beforeAll(async () => {
    const images = [await busyboxImage(), await tinyGuestImage()];
    at = await MachinesUnderTest.of(await KubeCluster.start({ machines: true }));
    const { containerd } = at.cluster.node;
    for (const image of images) await containerd.importImage(image);
    await containerd.ctr("images", "tag", BUSYBOX, EMPTY_IMAGE);
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
  describe("what makes them", () => {
    madeTests(() => at);
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

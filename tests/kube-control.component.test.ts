// The control plane on the real API server: one of it for all parts, each of which has a file of its own (control-*.ts).
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeClient, readKubeconfig } from "@trine/kube-client";
import { KINDS, crdName } from "@trine/kube-types";
import { KubeControlPlane, kubeBinaries } from "@trine/testkit";
import { afterAll, beforeAll, describe } from "vitest";
import { certificateTests } from "./control-certificates.ts";
import { ControlChildren } from "./control-child.ts";
import { clientTests } from "./control-client.ts";
import { copyTests } from "./control-copies.ts";
import { deathTests } from "./control-deaths.ts";
import { instanceTests } from "./control-instances.ts";
import { machineTests } from "./control-machines.ts";
import { programTests } from "./control-program.ts";
import type { ControlUnderTest } from "./control-under-test.ts";

const CRDS = join(import.meta.dirname, "../deploy/crds");

describe("the control plane on the real API server", () => {
  let dir: string;
  let control: ControlUnderTest;

  beforeAll(async () => {
    const binaries = await kubeBinaries();
    dir = await mkdtemp(join(tmpdir(), "trine-control-"));
    const plane = await KubeControlPlane.start({
      dir,
      binaries,
      address: "127.0.0.1",
      apiOnly: true,
    });
    const client = new KubeClient(await readKubeconfig(plane.kubeconfig));
    control = { dir, plane, client };
    await plane.kubectl.run("apply", "--server-side", "-f", CRDS);
    const crds = KINDS.map((kind) => `crd/${crdName(kind)}`);
    await plane.kubectl.run("wait", "--for=condition=Established", "--timeout=60s", ...crds);
  }, 3_600_000);

  afterAll(async () => {
    control.client.close();
    await control.plane.stop();
    await rm(dir, { recursive: true, force: true });
  });

  describe("program", () => {
    programTests(() => control);
  });
  describe("processes", () => {
    let children: ControlChildren;

    beforeAll(async () => {
      children = await ControlChildren.prepare(control);
    }, 120_000);

    afterAll(async () => {
      await children.stop();
    });

    describe("certificates", () => {
      certificateTests(
        () => control,
        () => children,
      );
    });
    describe("deaths", () => {
      deathTests(
        () => control,
        () => children,
      );
    });
  });
  describe("machines", () => {
    machineTests(() => control);
  });
  describe("copies", () => {
    copyTests(() => control);
  });
  describe("instances", () => {
    instanceTests(() => control);
  });

  // Last: it ends the API server.
  describe("client", () => {
    clientTests(() => control);
  });
});

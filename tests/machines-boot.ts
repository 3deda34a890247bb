// What a machine starts from besides a disk, and what its guest mounts by a name of KubeVirt's.
import { kernelImage } from "@trine/testkit";
import { expect, test } from "vitest";
import { LONG_MS, type MachinesUnderTest, instance, instanceSpec } from "./machines-under-test.ts";

const SIZES = {
  memory: { guest: "128Mi" },
  resources: { requests: { cpu: "10m" } },
};

export function bootTests(at: () => MachinesUnderTest): void {
  test(
    "a machine without any disk runs: its firmware finds nothing to boot",
    async () => {
      const devices = { interfaces: [{ name: "default", masquerade: {} }] };
      const networks = [{ name: "default", pod: {} }];
      const spec = { domain: { ...SIZES, devices }, networks };
      await at().create(instance("bare", { terminationGracePeriodSeconds: 0, ...spec }));
      const { status } = await at().untilPhase("bare", "Running");
      expect(status?.volumeStatus ?? []).toEqual([]);
      await at().delete("vmi", "bare");
    },
    LONG_MS,
  );

  test(
    "a machine starts a kernel and an initrd of an image, with the arguments that it is given",
    async () => {
      const image = await kernelImage();
      await at().cluster.node.containerd.importImage(image);
      const container = {
        image: image.name,
        kernelPath: "/boot/vmlinuz",
        initrdPath: "/boot/initrd",
      };
      const kernelArgs = "console=ttyS0 quiet told=by-$(kubectl)";
      const firmware = { kernelBoot: { container, kernelArgs } };
      // Its kernel, unpacked beside the packed one, has no room in 128 MiB.
      const spec = { domain: { ...SIZES, memory: { guest: "256Mi" }, devices: {}, firmware } };
      await at().create(instance("kernel", { terminationGracePeriodSeconds: 0, ...spec }));
      await at().untilPhase("kernel", "Running");
      await at().untilLog("kernel", /KERNEL-GUEST console=ttyS0 quiet told=by-\$\(kubectl\)/);
      const console_ = await at().console("kernel");
      console_.send("\n"); // it powers off
      await at().untilPhase("kernel", "Succeeded");
      console_.end();
      await at().delete("vmi", "kernel");
    },
    2 * LONG_MS,
  );

  test(
    "a guest mounts a ConfigMap by the name of its file system",
    async () => {
      const { kubectl } = at();
      await kubectl.run("create", "configmap", "app", "--from-literal=key=one");
      const filesystems = [{ name: "app-config", virtiofs: {} }];
      const volumes = [{ name: "app-config", configMap: { name: "app" } }];
      const domain = { devices: { filesystems } };
      await at().create(instance("tagged", instanceSpec({ domain, volumes })));
      await at().booted("tagged");
      const console_ = await at().console("tagged");
      console_.send("mkdir -p /m; mount -t virtiofs app-config /m; echo has-$(cat /m/key)\n");
      await console_.until("has-one");
      console_.end();
      await at().delete("vmi", "tagged");
      await kubectl.run("delete", "configmap", "app");
    },
    2 * LONG_MS,
  );
}

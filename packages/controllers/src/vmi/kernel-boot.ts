import { posix } from "node:path";
import type { VirtualMachineInstanceSpec } from "@trine/kube-types";
import { type Parts, defined, refused } from "./parts.ts";
import type { LaunchSettings } from "./settings.ts";

/** Where the machine's container has the image; nothing below /trine.dev is shared with the guest. */
const PLACE = "/trine.dev/kernel";
const VOLUME = "trine-kernel";
const FIELD = "spec.domain.firmware.kernelBoot";

/** Whether the machine starts a kernel of an image's. */
function bootsKernel({ domain }: VirtualMachineInstanceSpec): boolean {
  const path = domain.firmware?.kernelBoot?.container?.kernelPath;
  return path !== undefined && path !== "";
}

/** A kernel that is started without a boot loader, with the image that it is in. */
export function kernelParts(
  spec: VirtualMachineInstanceSpec,
  { imageVolumes }: Pick<LaunchSettings, "imageVolumes">,
): Parts {
  const { container, kernelArgs } = spec.domain.firmware?.kernelBoot ?? {};
  if (container === undefined) return {};
  const { image, imagePullPolicy, imagePullSecret, kernelPath, initrdPath } = container;
  if (!bootsKernel(spec)) {
    return refused(`${FIELD}.container.initrdPath`, "is of a kernel: give kernelPath");
  }
  if (!imageVolumes) {
    const why = "the cluster has images as volumes turned off, and the kernel is in one";
    return refused(`${FIELD}.container`, why);
  }
  const at = (path: string | undefined): string | undefined =>
    path === undefined || path === "" ? undefined : posix.normalize(`${PLACE}/${path}`);
  return {
    annotations: defined({
      "trine.dev/kernel": at(kernelPath),
      "trine.dev/initrd": at(initrdPath),
      "trine.dev/kernel-args": kernelArgs === "" ? undefined : kernelArgs,
    }),
    pullSecrets: imagePullSecret === undefined || imagePullSecret === "" ? [] : [imagePullSecret],
    volumes: [
      {
        name: VOLUME,
        image: { reference: image, ...defined({ pullPolicy: imagePullPolicy }) },
      },
    ],
    mounts: [{ name: VOLUME, mountPath: PLACE, readOnly: true }],
  };
}

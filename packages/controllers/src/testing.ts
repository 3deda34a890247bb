// Instances and claims for tests.
import type { Stored } from "@trine/kube-client";
import type { VirtualMachineInstance } from "@trine/kube-types";
import type { MachineReport } from "@trine/node-door";
import { type ByPath, GOOD_INSTANCE, withFields } from "@trine/kube-types/testing";
import type { Claims } from "./vmi/disks.ts";
import { type LaunchSettings, launchSettings } from "./vmi/settings.ts";

export const UID = "1c5ad7f0-4c1e-4a32-a7f4-0a5d1d9f6a11";
export const EMPTY_IMAGE = "empty/machine:1";

export const SETTINGS: LaunchSettings = launchSettings({}, { emptyImage: EMPTY_IMAGE });

/** An instance as the API server answers it, with fields by their paths. */
export function instance(fields: ByPath = {}): Stored<VirtualMachineInstance> {
  const metadata = {
    name: "web",
    namespace: "shop",
    uid: UID,
    resourceVersion: "7",
    generation: 1,
    creationTimestamp: "2026-01-02T03:04:05Z",
  };
  const made = withFields({ ...GOOD_INSTANCE, metadata }, fields);
  return made as Stored<VirtualMachineInstance>;
}

const GIB = 1024 ** 3;

/** Claims by their names: `block…` is a device, `gone…` is not there. */
export const CLAIMS: Claims = (name) =>
  name.startsWith("gone")
    ? undefined
    : { block: name.startsWith("block"), capacityBytes: 10 * GIB, overhead: 0.055 };

/** A pod's machine as its node says, with what differs. */
export function report(fields: Partial<MachineReport> = {}): MachineReport {
  return {
    namespace: "shop",
    pod: "pod",
    uid: "pod-uid",
    sandboxId: "s",
    phase: "running",
    since: "2026-01-02T03:05:00Z",
    accelerator: "kvm",
    cpus: { sockets: 1, cores: 1, threads: 1 },
    memory: { guestBytes: GIB, overheadBytes: 0 },
    interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", addresses: [], fromGuest: false }],
    agent: { connected: false, frozen: false },
    disks: [],
    ...fields,
  };
}

import { generateKeyPairSync } from "node:crypto";
import { TrineError } from "@trine/base";
import { PODS } from "@trine/kube-client";
import { MemoryKube } from "@trine/kube-client/testing";
import {
  CLUSTER_DEFAULTS,
  type VirtualMachine,
  type VirtualMachineInstance,
} from "@trine/kube-types";
import { pino } from "pino";
import type { VirtApiDeps } from "../deps.ts";
import { INSTANCES, MACHINES } from "../subresources/objects.ts";
import { FakeDoor } from "./fake-door.ts";

const SPEC = { domain: { memory: { guest: "1Gi" }, devices: {} } };
const AT = { namespace: "default", name: "vm" };

export function machine(
  spec: Partial<VirtualMachine["spec"]>,
  status?: VirtualMachine["status"],
): VirtualMachine {
  return {
    metadata: AT,
    spec: { template: { spec: SPEC }, ...spec },
    ...(status !== undefined && { status }),
  };
}

export function instance(
  phase: string,
  more: {
    spec?: Partial<VirtualMachineInstance["spec"]>;
    status?: VirtualMachineInstance["status"];
  } = {},
): VirtualMachineInstance {
  return {
    metadata: AT,
    spec: { ...SPEC, ...more.spec },
    status: { phase, nodeName: "node-1", ...more.status },
  };
}

const UPLOAD_KEY = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
  type: "pkcs8",
  format: "pem",
});

export const SYSTEM = "system:serviceaccount:trine-system:trine-control";

/** A cluster's settings that nobody has changed; the log goes nowhere. */
export const testSettings: Omit<VirtApiDeps, "kube" | "doorOf"> = {
  expand: (vm) => Promise.resolve(vm),
  defaults: () => CLUSTER_DEFAULTS,
  inertFields: () => [],
  isSystem: (user) => user === SYSTEM,
  uploadKey: () => UPLOAD_KEY,
  copyKey: () => Buffer.alloc(32, 7),
  version: {
    gitVersion: "v1.9.0",
    gitCommit: "none",
    gitTreeState: "clean",
    buildDate: "2026-01-01T00:00:00Z",
    goVersion: "none",
    compiler: "none",
    platform: "linux/amd64",
  },
  guestfs: { registry: "", tag: "", digest: "", imagePrefix: "", gsImage: "" },
  uuid: () => "c0ffee00-0000-4000-8000-000000000001",
  now: () => new Date("2026-01-01T00:00:00Z"),
  logger: pino({ level: "silent" }),
};

interface TestDeps extends VirtApiDeps {
  readonly kube: MemoryKube;
  readonly door: FakeDoor;
}

/** The objects are there; an instance that runs has a pod on its node. */
export async function testDeps(
  objects: { readonly machine?: VirtualMachine; readonly instance?: VirtualMachineInstance } = {},
): Promise<TestDeps> {
  const kube = new MemoryKube();
  const door = new FakeDoor();
  if (objects.instance !== undefined) await runningInstance(kube, objects.instance);
  if (objects.machine !== undefined) {
    const { status, ...stored } = objects.machine;
    const made = await kube.create(MACHINES, stored);
    if (status !== undefined) {
      await kube.update(MACHINES, { ...made, status }, { subresource: "status" });
    }
  }
  kube.writes.length = 0;
  return {
    kube,
    door,
    doorOf: (node) =>
      node === "node-1"
        ? Promise.resolve(door)
        : Promise.reject(new TrineError("unavailable", `node ${node} is not heard`)),
    ...testSettings,
  };
}

export async function runningInstance(
  kube: MemoryKube,
  object: VirtualMachineInstance,
): Promise<void> {
  const { metadata } = await kube.create(INSTANCES, object);
  const owner = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstance",
    name: metadata.name,
    uid: metadata.uid,
    controller: true,
  };
  const pod = await kube.create(PODS, {
    metadata: {
      namespace: "default",
      name: "virt-launcher-vm-abcde",
      labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": metadata.uid },
      annotations: { "kubevirt.io/domain": metadata.name },
      ownerReferences: [owner],
    },
    spec: { nodeName: "node-1", containers: [] },
  });
  await kube.update(PODS, { ...pod, status: { phase: "Running" } }, { subresource: "status" });
}

import { createHash } from "node:crypto";
import { type AnnotationProblem, checkMachineAnnotations } from "@trine/annotations";
import { type Pod, type Stored } from "@trine/kube-client";
import {
  CLUSTER_DEFAULTS,
  type VirtualMachineInstance,
  type VirtualMachineInstanceSpec,
  defaultInstanceSpec,
} from "@trine/kube-types";
import { CONTAINERS, besideParts } from "./beside.ts";
import { firstBootParts } from "./cloud-init.ts";
import { credentialParts } from "./credentials.ts";
import { memoryParts, otherResources, processorParts } from "./cpu-memory.ts";
import { deviceParts, hostDeviceParts } from "./devices.ts";
import { directoryParts } from "./directories.ts";
import { type Claims, diskParts } from "./disks.ts";
import { featureParts, firmwareParts } from "./firmware.ts";
import { kernelParts } from "./kernel-boot.ts";
import { ignitionParts } from "./ignition.ts";
import { ioParts } from "./io-threads.ts";
import { COMPUTE, networkParts } from "./networks.ts";
import { type Parts, type Refusal, joined } from "./parts.ts";
import { probeParts } from "./probes.ts";
import { placeParts } from "./scheduling.ts";
import type { LaunchSettings } from "./settings.ts";

/** A pod that would be the machine, or all that it cannot be made of. */
export type Rendering =
  { readonly pod: Pod } | { readonly refusals: readonly [Refusal, ...Refusal[]] };

type Instance = Stored<VirtualMachineInstance>;

const PREFIX = "trine.dev/";
const LABEL = 63;
/** Annotations that mean an object, and not its pod. */
const OWN =
  /^(kubectl\.kubernetes\.io\/|kubevirt\.io\/(latest-observed|storage-observed|ignitiondata$))/;

/** The spec with what the webhook fills in, where an object came without it; the same each time. */
export function filledSpec({ spec, metadata }: Instance): VirtualMachineInstanceSpec {
  return defaultInstanceSpec(spec, CLUSTER_DEFAULTS, metadata.uid);
}

/** Whoever makes an instance's pod makes one of this name: there cannot be two. */
export function podName({ metadata: { name, uid } }: Instance): string {
  return `virt-launcher-${name.slice(0, 200)}-${hashOf(uid, 5)}`;
}

/** The claim that keeps an instance's firmware and TPM: its VirtualMachine's, if it has one. */
export function stateClaimName({ metadata: { name } }: Instance): string {
  return `persistent-state-for-${name.slice(0, 200)}`;
}

/** The machine's pod. Of the same instance, claims and settings it is the same pod. */
export function renderPod(vmi: Instance, claims: Claims, settings: LaunchSettings): Rendering {
  const spec = filledSpec(vmi);
  const disks = diskParts(spec, claims, settings);
  const parts = joined([
    disks,
    ...partsOf(vmi, spec, settings),
    { annotations: { "trine.dev/machine": COMPUTE, ...startOf(spec) } },
  ]);
  const entries = parts.disks;
  const ours = {
    ...parts.annotations,
    ...(entries.length === 0 ? {} : { "trine.dev/disks": JSON.stringify(entries) }),
  };
  const said = ownAnnotations(vmi, ours);
  const [first, ...others] = [...parts.refusals, ...said.refusals, ...problemsOf(said.annotations)];
  if (first !== undefined) return { refusals: [first, ...others] };
  return { pod: podOf(vmi, parts, said.annotations, disks.image, settings) };
}

function startOf({ startStrategy }: VirtualMachineInstanceSpec): Record<string, string> {
  return startStrategy === "Paused" ? { "trine.dev/start": "paused" } : {};
}

function partsOf(
  vmi: Instance,
  spec: VirtualMachineInstanceSpec,
  settings: LaunchSettings,
): Parts[] {
  const { domain } = spec;
  const { name, namespace = "", annotations } = vmi.metadata;
  return [
    otherResources(domain),
    processorParts(domain, settings),
    memoryParts(domain, settings),
    firmwareParts(spec, settings, stateClaimName(vmi)),
    kernelParts(spec, settings),
    featureParts(domain),
    deviceParts(domain),
    ioParts(spec),
    hostDeviceParts(spec),
    firstBootParts(spec),
    ignitionParts(annotations),
    credentialParts(spec),
    directoryParts(spec),
    networkParts(spec, namespace),
    probeParts(spec),
    placeParts(spec, name, settings),
    besideParts(annotations),
  ];
}

/** The instance's own annotations go to its pod; those of the machine too, where the spec has no field for them. */
function ownAnnotations(
  { metadata }: Instance,
  ours: Readonly<Record<string, string>>,
): {
  readonly annotations: Readonly<Record<string, string>>;
  readonly refusals: readonly Refusal[];
} {
  const theirs = Object.entries(metadata.annotations ?? {}).filter(
    ([key]) => key !== CONTAINERS && !OWN.test(key),
  );
  const refusals = theirs
    .filter(
      ([key, value]) => key.startsWith(PREFIX) && Object.hasOwn(ours, key) && ours[key] !== value,
    )
    .map(([key]) => ({
      field: `metadata.annotations[${key}]`,
      why: "says something else than the spec: keep one",
    }));
  return { annotations: { ...Object.fromEntries(theirs), ...ours }, refusals };
}

function problemsOf(annotations: Readonly<Record<string, string>>): Refusal[] {
  return checkMachineAnnotations(annotations).problems.map((problem) => ({
    field: `metadata.annotations[${problem.key}]`,
    why: wordsOf(problem),
  }));
}

function wordsOf({ value, why, allowed }: AnnotationProblem): string {
  return `${value} ${why}${allowed === undefined ? "" : `; allowed: ${allowed}`}`;
}

function podOf(
  vmi: Instance,
  parts: ReturnType<typeof joined>,
  annotations: Readonly<Record<string, string>>,
  image: { readonly image: string; readonly pullPolicy?: string } | undefined,
  { runtimeClass, emptyImage }: LaunchSettings,
): Pod {
  const { namespace = "" } = vmi.metadata;
  const { volumes, pullSecrets, beside, pod } = parts;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(vmi),
      namespace,
      labels: labelsOf(vmi),
      annotations: { ...annotations, "kubevirt.io/domain": vmi.metadata.name },
      ownerReferences: [ownerOf(vmi)],
    },
    spec: {
      ...pod,
      runtimeClassName: runtimeClass,
      restartPolicy: "Never",
      enableServiceLinks: false,
      containers: [
        machineContainer(parts, image ?? { image: emptyImage, pullPolicy: "IfNotPresent" }),
        ...beside,
      ],
      ...(volumes.length === 0 ? {} : { volumes }),
      ...(pullSecrets.length === 0
        ? {}
        : { imagePullSecrets: pullSecrets.map((name) => ({ name })) }),
    },
  };
}

function machineContainer(
  parts: ReturnType<typeof joined>,
  { image, pullPolicy }: { readonly image: string; readonly pullPolicy?: string },
): Readonly<Record<string, unknown>> & { readonly name: string } {
  const { requests, limits, claims, mounts, devices, ports, container } = parts;
  return {
    ...container,
    name: COMPUTE,
    image,
    ...(pullPolicy === undefined || pullPolicy === "" ? {} : { imagePullPolicy: pullPolicy }),
    resources: {
      requests,
      ...(Object.keys(limits).length === 0 ? {} : { limits }),
      ...(claims.length === 0 ? {} : { claims }),
    },
    // A disk's image seldom brings one, and containerd makes no container without. A machine runs none.
    command: ["machine"],
    // The console, for `kubectl attach`.
    stdin: true,
    ...(ports.length === 0 ? {} : { ports }),
    ...(mounts.length === 0 ? {} : { volumeMounts: mounts }),
    ...(devices.length === 0 ? {} : { volumeDevices: devices }),
    // Nothing of it runs on the node: it says so to those who check pods.
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
}

/** Labels that services, budgets and tools go by. */
function labelsOf({ metadata: { name, uid, labels } }: Instance): Readonly<Record<string, string>> {
  const label =
    name.length <= LABEL
      ? name
      : `${name.slice(0, LABEL - 9).replace(/[.-]+$/, "")}-${hashOf(name, 8)}`;
  return {
    ...labels,
    "kubevirt.io": "virt-launcher",
    "kubevirt.io/created-by": uid,
    "vmi.kubevirt.io/id": label,
    "vm.kubevirt.io/name": label,
  };
}

function ownerOf({
  metadata: { name, uid },
}: Instance): NonNullable<NonNullable<Pod["metadata"]>["ownerReferences"]>[number] {
  const of = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachineInstance", name, uid };
  return { ...of, controller: true, blockOwnerDeletion: true };
}

function hashOf(text: string, length: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, length);
}

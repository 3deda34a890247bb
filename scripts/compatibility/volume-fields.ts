// CDI's kinds, field by field where something acts on them (docs/reference/data-volumes.md).
import { group } from "./field-group.ts";
import type { FieldGroup } from "./field-group.ts";
import { fillsVolumes, inVolumes, infers, onVolumes, settings, steps } from "./proof.ts";
import type { Proof } from "./proof.ts";

const sources = (...names: readonly string[]): string[] =>
  names.map((name) => `spec.source.${name}`);
const status = (...names: readonly string[]): string[] => names.map((name) => `status.${name}`);

const FROM_URL = fillsVolumes(
  "a volume from a URL: claim, pod, progress, success, and the pod goes",
);
const REFUSED = fillsVolumes("what cannot be is said, and nothing is made: %s");
const ON_CLUSTER = inVolumes(
  "a DataVolume is filled from a URL, from an image, from another claim, and blank",
);
const COPIED_FAR = inVolumes(
  "a golden image of another namespace is copied for who may, into a file system and onto a device",
);
const GRANTED: Proof = [
  "packages/virt-api/src/admission/data-volume.test.ts",
  "who may copy the claim is granted just that: named %s",
];
const ALLOCATED: Proof = [
  "packages/image-import/src/volume/allocate.component.test.ts",
  "a disk has its space, and what it held, where it is asked for",
];
const READY: Proof = [
  "tests/control-copies.ts",
  "a DataSource, and one that names it, say when their claim can be copied",
];
const UPLOADED: Proof = [
  "packages/virt-api/src/upload/upload.test.ts",
  "%s: all bytes come to the import of the claim",
];

export const DATA_VOLUME_FIELDS: readonly FieldGroup[] = [
  group(
    "from a URL, from an image, empty",
    sources("http", "registry", "blank"),
    [FROM_URL, ON_CLUSTER],
    {
      but: "`registry.certConfigMap` is not looked at",
    },
  ),
  group("from a claim", sources("pvc"), [
    fillsVolumes("a claim is not copied while a pod may write it"),
    GRANTED,
    ON_CLUSTER,
    COPIED_FAR,
  ]),
  group("by upload", sources("upload"), [
    fillsVolumes("an upload is ready when its pod waits for it, and the claim says so"),
    UPLOADED,
    onVolumes(
      "virtctl image-upload dv: what is no upload leaves the claim clean, and the next one fills it",
    ),
  ]),
  group("by reference", ["spec.sourceRef"], [GRANTED, COPIED_FAR], {
    but: "the DataSource has to name a claim, or one of its namespace that does",
  }),
  group("from elsewhere", sources("s3", "gcs", "imageio", "vddk", "snapshot"), [], {
    refused: "phase Failed, and why in the condition Running",
  }),
  group(
    "the claim",
    ["spec.pvc", "spec.storage"],
    [FROM_URL, fillsVolumes("a claim that is there is not written over, unless it is to be taken")],
  ),
  group("content", ["spec.contentType"], [REFUSED], { but: "`archive` is refused" }),
  group(
    "preallocation, priority and account of its pod",
    ["spec.preallocation", "spec.priorityClassName", "spec.serviceAccountName"],
    [fillsVolumes("its pod has its priority and account, a %s all of its space"), ALLOCATED],
    { but: "devices are as their storage has them" },
  ),
  group("copies in steps", ["spec.checkpoints", "spec.finalCheckpoint"], [], {
    refused: "phase Failed, and why in the condition Running",
  }),
  group(
    "phase, progress, restarts, conditions",
    ["status"],
    [
      FROM_URL,
      fillsVolumes("what failed is said, in the container's words, and tried again by kubelet"),
      steps("volumes are %s"),
    ],
  ),
];

export const DATA_SOURCE_FIELDS: readonly FieldGroup[] = [
  group("its source, and the labels on it", ["spec"], [infers("is inferred from %s"), READY], {
    but: "snapshots are not copied",
  }),
  group("whether it can be copied", ["status"], [READY]),
];

export const CONFIG_FIELDS: readonly FieldGroup[] = [
  group("what a file system takes of a claim", status("filesystemOverhead"), [FROM_URL]),
  group("the rest", ["spec", "status"], [], { but: "not looked at" }),
];

export const PROFILE_FIELDS: readonly FieldGroup[] = [
  group(
    "access modes and volume mode",
    ["spec.claimPropertySets", ...status("claimPropertySets")],
    [FROM_URL],
  ),
  group("the rest", ["spec", "status"], [], { but: "not looked at" }),
];

export const CDI_FIELDS: readonly FieldGroup[] = [
  group(
    "how it went",
    ["status"],
    [settings("writes what serves and what nothing acts on, once, and again when that changes")],
  ),
  group("what is to be installed", ["spec"], [], { but: "there is nothing of CDI's to install" }),
];

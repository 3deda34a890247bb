// What VirtualMachines, replica sets and migrations say beside the spec of their instances, and what is told of all of them.
import { group } from "./field-group.ts";
import type { FieldGroup } from "./field-group.ts";
import {
  admits,
  answers,
  given,
  infers,
  instances,
  onDoor,
  onGrowth,
  onInstances,
  onMachines,
  reconciles,
  reconcilesInstance,
  ofCluster,
  replicas,
  settings,
  statuses,
  steps,
} from "./proof.ts";

const LIVES = onMachines("a machine that is created runs, is stopped and started, and goes");
const FARM = onMachines("a replica set has as many instances as kubectl scale says");
const SEEN = instances("where it is, its memory, its disks and its guest");
const BECOMES = onInstances(
  "an instance has a pod, runs when its node says so, and goes with its pod",
);
const TYPES = onMachines(
  "the instance types and preferences that ship are taken, and u1.small makes a machine of its size",
);
const IS_SEEN = onDoor(
  "the control plane sees a machine run, with the addresses of its guest, pauses it, and sees it again after trined was killed",
);
const NO_MIGRATION = "machines do not migrate yet";
const AS_INSTANCE = "as of a VirtualMachineInstance";
const GROWS = onGrowth(
  "a machine that runs has the sockets and the memory that its template is given, without a restart",
);

const status = (...names: readonly string[]): string[] => names.map((name) => `status.${name}`);

export const INSTANCE_STATUS: readonly FieldGroup[] = [
  group(
    "phase, with the times it changed",
    status("phase", "phaseTransitionTimestamps", "reason"),
    [instances("%s"), BECOMES],
  ),
  group("conditions", status("conditions"), [instances("conditions of one %s")]),
  group(
    "node, pod and their kind",
    status(
      "nodeName",
      "activePods",
      "qosClass",
      "launcherContainerImageVersion",
      "virtualMachineRevisionName",
      "evacuationNodeName",
    ),
    [SEEN, BECOMES],
  ),
  group("addresses", status("interfaces"), [
    instances("with the pod's own address the guest's others after it, those of a link last"),
    IS_SEEN,
  ]),
  group("the guest's system, file systems frozen", status("guestOSInfo", "fsFreezeStatus"), [SEEN]),
  group("volumes", status("volumeStatus"), [SEEN]),
  group("memory and processors", status("memory", "currentCPUTopology", "machine"), [
    instances("an overhead that moves a little is not written anew, one that has grown is"),
    SEEN,
  ]),
  group("user and SELinux context of the launcher", status("runtimeUser", "selinuxContext"), [], {
    but: "there is no launcher in the pod",
  }),
  group(
    "migration",
    status(
      "migrationState",
      "migrationMethod",
      "migrationTransport",
      "migratedVolumes",
      "topologyHints",
    ),
    [],
    { but: NO_MIGRATION },
  ),
  group(
    "kernel of an image, vsock, tracked changes",
    status("kernelBootStatus", "VSOCKCID", "changedBlockTracking"),
    [],
    {
      but: "there is nothing of the kind",
    },
  ),
];

export const MACHINE: readonly FieldGroup[] = [
  group(
    "run strategy",
    ["spec.running", "spec.runStrategy"],
    [
      steps("%s with requests %j and an instance in each phase"),
      steps("running: %s is a strategy of old"),
      LIVES,
    ],
  ),
  group("template", ["spec.template"], [LIVES, GROWS], {
    but: `${AS_INSTANCE}; of one that runs change sockets, memory, nodeSelector, affinity and tolerations, all else at its restart`,
  }),
  group(
    "instance type",
    ["spec.instancetype"],
    [
      given("an instance type is kept at first use: what changes later does not reach the machine"),
      infers("is inferred from %s"),
      TYPES,
    ],
  ),
  group("preference", ["spec.preference"], [infers("a preference has labels of its own"), TYPES]),
  group(
    "volumes that are made for it",
    ["spec.dataVolumeTemplates"],
    [
      reconciles("volumes of templates are made first, and belong to the machine"),
      steps("volumes are %s"),
    ],
  ),
  group("what a change of volumes does", ["spec.updateVolumesStrategy"], [], {
    but: "volumes change at the next start",
  }),
  group("created, ready, printable status", status("created", "ready", "printableStatus"), [
    statuses("%s"),
    LIVES,
  ]),
  group("conditions", status("conditions"), [
    statuses("conditions are the instance's, and the machine's own"),
    statuses("a changed template needs a restart, and its generation is not the instance's"),
  ]),
  group("requests to start and stop", status("stateChangeRequests"), [
    answers("%s of %s, instance %s: asks its controller"),
    statuses("of the requests %s is dropped when it is done"),
  ]),
  group("failures to start", status("startFailure"), [
    reconciles("an instance that fails early is tried again after a wait that grows"),
  ]),
  group(
    "generations and strategy",
    status("observedGeneration", "desiredGeneration", "runStrategy"),
    [
      statuses(
        "the strategy is noted once there was an instance, and RerunOnFailure when it has one",
      ),
    ],
  ),
  group("instance type and preference in use", status("instancetypeRef", "preferenceRef"), [TYPES]),
  group(
    "snapshots",
    status("snapshotInProgress", "restoreInProgress", "volumeSnapshotStatuses"),
    [admits("keeps its %s while a snapshot is made")],
    { but: "none is made: what another writes there is heeded" },
  ),
  group(
    "hot plug, memory dumps, moved volumes, tracked changes",
    status("volumeRequests", "memoryDumpRequest", "volumeUpdateState", "changedBlockTracking"),
    [],
    { but: "there is nothing of the kind" },
  ),
];

export const REPLICA_SET: readonly FieldGroup[] = [
  group(
    "replicas, selector, paused",
    ["spec.replicas", "spec.selector", "spec.paused"],
    [
      replicas("a set of two that has %s"),
      replicas("a set that is paused, or goes, does nothing"),
      FARM,
    ],
  ),
  group("template", ["spec.template"], [FARM], { but: AS_INSTANCE }),
  group(
    "status and scale",
    ["status"],
    [replicas("a set is filled once, even when the cache is late, and says what it has"), FARM],
  ),
];

export const MIGRATION: readonly FieldGroup[] = [
  group("a machine that is to move", ["spec"], [], {
    refused: "Cannot migrate VMI: no machine is live-migratable yet",
  }),
  group("how it went", ["status"], [], { but: NO_MIGRATION }),
];

export const KUBEVIRT_SETTINGS: readonly FieldGroup[] = [
  group(
    "pods of machines: RuntimeClass, processors, memory, gates, SMBIOS, storage class of what they keep",
    [
      "spec.configuration.defaultRuntimeClass",
      "spec.configuration.cpuRequest",
      "spec.configuration.developerConfiguration",
      "spec.configuration.additionalGuestMemoryOverheadRatio",
      "spec.configuration.smbios",
      "spec.configuration.vmStateStorageClass",
    ],
    [
      ["packages/controllers/src/vmi/render-pod.test.ts", "the cluster's settings"],
      reconcilesInstance("the configuration of the KubeVirt object that was first is followed"),
    ],
    {
      but: "of developerConfiguration: cpuAllocationRatio, memoryOvercommit, nodeSelectors, disabledFeatureGates (ImageVolume)",
    },
  ),
  group(
    "what a changed template does to a machine that runs",
    ["spec.configuration.vmRolloutStrategy", "spec.configuration.liveUpdateConfiguration"],
    [["packages/controllers/src/vm/live-change.test.ts", "is none for %s"], GROWS],
  ),
  group(
    "defaults of machines, how loud the log is, and the rest of the configuration",
    ["spec.configuration"],
    [ofCluster("says %s"), ofCluster("names what nothing acts on, by the path that was written")],
    { but: "what of it nothing acts on is named in the object's status" },
  ),
  group("how KubeVirt itself is run", ["spec"], [], {
    but: "trine-control is run by its own Deployment",
  }),
  group(
    "how it went",
    ["status"],
    [settings("writes what serves and what nothing acts on, once, and again when that changes")],
  ),
];

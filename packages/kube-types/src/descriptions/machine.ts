import type { FieldTexts } from "./field-texts.ts";

const MATCHER = {
  kind: "VirtualMachine…Instancetype or …Preference, of the namespace or of the cluster, which is meant where nothing is said.",
  revisionName: "The ControllerRevision that is meant, in place of what the object says now.",
  inferFromVolume: "The volume of the machine whose labels say the name.",
  inferFromVolumeFailurePolicy:
    "What becomes of the machine where the volume says nothing: Reject (default) or Ignore.",
};

/** What is more than an instance: machines, sets of them, their sizes. */
export const MACHINE_TEXTS: readonly FieldTexts[] = [
  {
    kind: "VirtualMachine",
    path: "spec",
    texts: {
      running: "Older word for runStrategy: true is Always, false is Halted.",
      runStrategy: "When the machine runs: Always, RerunOnFailure, Manual, Once or Halted.",
      instancetype: "The machine's size, by the name of an object that says it.",
      preference:
        "What counts where the template says nothing, by the name of an object that says it.",
      template: "The instance that is made when the machine starts.",
      dataVolumeTemplates: "DataVolumes that are made for the machine, and go with it.",
      updateVolumesStrategy: "How volumes of a machine that runs are replaced.",
    },
  },
  {
    kind: "VirtualMachine",
    path: "spec.template",
    texts: {
      metadata: "Labels and annotations of the instance and its pod.",
      spec: "What the instance is.",
    },
  },
  {
    kind: "VirtualMachine",
    path: "spec.instancetype",
    texts: { name: "Name of the instance type.", ...MATCHER },
  },
  {
    kind: "VirtualMachine",
    path: "spec.preference",
    texts: { name: "Name of the preference.", ...MATCHER },
  },
  {
    kind: "VirtualMachine",
    path: "status",
    texts: {
      snapshotInProgress: "Name of the snapshot that is being taken.",
      restoreInProgress: "Name of the restore that is under way.",
      created: "Whether there is an instance.",
      ready: "Whether the instance runs and is ready.",
      printableStatus: "The machine's state in a word, as kubectl get shows it.",
      conditions: "What is so, each with a reason.",
      stateChangeRequests: "Starts and stops that were asked for and are not done.",
      volumeRequests: "Volumes to be plugged in or out.",
      volumeSnapshotStatuses: "Of each volume, whether a snapshot can be taken.",
      startFailure: "How often the machine has failed to start, and when it is tried again.",
      memoryDumpRequest: "The dump of memory that was asked for.",
      observedGeneration: "The generation that the controllers have seen.",
      desiredGeneration: "The generation that is wanted.",
      runStrategy: "The run strategy that counts.",
      volumeUpdateState: "How far the replacement of volumes is.",
      changedBlockTracking: "Whether changes of disks are tracked.",
      instancetypeRef: "The instance type as it was when it was first used.",
      preferenceRef: "The preference as it was when it was first used.",
    },
  },
  {
    kind: "VirtualMachineInstanceReplicaSet",
    path: "spec",
    texts: {
      replicas: "How many instances there are to be; one where nothing is said.",
      selector: "Which instances are of the set; the template's labels have to match.",
      template: "What each instance is.",
      paused: "Leaves the set's instances as they are.",
    },
  },
  {
    kind: "VirtualMachineInstancetype",
    path: "spec",
    texts: {
      nodeSelector: "Labels of nodes that the machine may run on.",
      schedulerName: "Who chooses the node.",
      cpu: "Virtual processors.",
      memory: "Memory of the guest.",
      gpus: "GPUs of the node.",
      hostDevices: "Devices of the node.",
      ioThreadsPolicy: "How disks share threads.",
      ioThreads: "Threads for disks.",
      launchSecurity: "Memory that the node cannot read.",
      annotations: "Annotations of the instance.",
    },
  },
  {
    kind: "VirtualMachinePreference",
    path: "spec",
    texts: {
      clock: "The guest's clock.",
      cpu: "How virtual processors are laid out, and their features.",
      devices: "Buses, models and devices.",
      features: "Features of the board and of Hyper-V.",
      firmware: "BIOS or UEFI.",
      machine: "The board.",
      volumes: "The storage class of volumes that are made.",
      preferredSubdomain: "The subdomain of the machine's name.",
      preferredTerminationGracePeriodSeconds: "How long the guest has to shut down.",
      requirements: "What a machine has to have at least.",
      annotations: "Annotations of the instance.",
      preferSpreadSocketToCoreRatio: "Older word for cpu.spreadOptions.ratio.",
      preferredArchitecture: "The guest's processor.",
      preferredLaunchSecurity: "Memory that the node cannot read.",
    },
  },
];

/** What the cluster says where a user does not (the KubeVirt object's configuration). */
export interface ClusterDefaults {
  readonly architecture: string;
  /** By architecture. */
  readonly machineTypes: Readonly<Record<string, string>>;
  readonly cpuModel: string;
  readonly evictionStrategy: string;
  /** How a machine without networks joins the pod's. */
  readonly networkBinding: "bridge" | "masquerade";
  /** How many times its processors and memory a machine may grow to while it runs. */
  readonly maxHotplugRatio: number;
  /** In place of that: sockets, and memory, that every machine may grow to. */
  readonly maxCpuSockets?: number;
  readonly maxGuest?: number | string;
  /** What becomes of instance types and preferences that machines name; nothing said: `reference`. */
  readonly referencePolicy?: "reference" | "expand" | "expandAll";
  /** What becomes of a change of a machine that runs; nothing said: `LiveUpdate`. */
  readonly rolloutStrategy?: "LiveUpdate" | "Stage";
}

/** As KubeVirt has them where nothing is configured. */
export const CLUSTER_DEFAULTS: ClusterDefaults = {
  architecture: "amd64",
  machineTypes: { amd64: "q35", arm64: "virt", s390x: "s390-ccw-virtio" },
  cpuModel: "host-model",
  evictionStrategy: "None",
  networkBinding: "bridge",
  maxHotplugRatio: 4,
};

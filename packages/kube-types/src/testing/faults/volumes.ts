import {
  DUPLICATE,
  INVALID,
  REQUIRED,
  UNSUPPORTED,
  type ByPath,
  type FaultRow,
} from "../objects.ts";

const seed = (data: object): ByPath => ({ "volumes[1]": { name: "seed", cloudInitNoCloud: data } });

const SEED = "volumes[1].cloudInitNoCloud";

const source = (of: object): ByPath => ({ "volumes[0]": { name: "root", ...of } });

export const VOLUMES_FAULTS: readonly FaultRow[] = [
  ["a volume of nothing", source({}), `volumes[0] ${REQUIRED}`],
  [
    "a volume of two sources",
    { "volumes[0].emptyDisk": { capacity: "1Gi" } },
    `volumes[0] ${INVALID}`,
  ],
  ["a volume of an unknown source", { "volumes[0].nfs": {} }, `volumes[0].nfs ${INVALID}`],
  [
    "two volumes of a name",
    { "volumes[1]": { name: "root", emptyDisk: { capacity: "1Gi" } } },
    `volumes[1].name ${DUPLICATE}`,
  ],
  [
    "a volume of no name",
    { "volumes[1]": { name: "", emptyDisk: { capacity: "1Gi" } } },
    `volumes[1].name ${REQUIRED}`,
  ],
  [
    "a name that is no label",
    { "volumes[1]": { name: "My_Disk", emptyDisk: { capacity: "1Gi" } } },
    `volumes[1].name ${INVALID}`,
  ],
  [
    "a disk of no capacity",
    source({ emptyDisk: { capacity: "0" } }),
    `volumes[0].emptyDisk.capacity ${INVALID}`,
  ],
  [
    "a disk without capacity",
    source({ emptyDisk: {} }),
    `volumes[0].emptyDisk.capacity ${REQUIRED}`,
  ],
  [
    "an image of no name",
    source({ containerDisk: { image: "" } }),
    `volumes[0].containerDisk.image ${REQUIRED}`,
  ],
  [
    "an unknown pull policy",
    source({ containerDisk: { image: "i", imagePullPolicy: "Sometimes" } }),
    `volumes[0].containerDisk.imagePullPolicy ${UNSUPPORTED}`,
  ],
  [
    "a claim of no name",
    source({ persistentVolumeClaim: { claimName: "" } }),
    `volumes[0].persistentVolumeClaim.claimName ${REQUIRED}`,
  ],
  [
    "a data volume of no name",
    source({ dataVolume: { name: "" } }),
    `volumes[0].dataVolume.name ${REQUIRED}`,
  ],
  [
    "a copy of nothing",
    source({ ephemeral: {} }),
    `volumes[0].ephemeral.persistentVolumeClaim.claimName ${REQUIRED}`,
  ],
  ["a config map of no name", source({ configMap: {} }), `volumes[0].configMap.name ${REQUIRED}`],
  ["a secret of no name", source({ secret: {} }), `volumes[0].secret.secretName ${REQUIRED}`],
  [
    "an account of no name",
    source({ serviceAccount: {} }),
    `volumes[0].serviceAccount.serviceAccountName ${REQUIRED}`,
  ],
  [
    "two accounts",
    {
      "volumes[1]": { name: "a", serviceAccount: { serviceAccountName: "x" } },
      "volumes[2]": { name: "b", serviceAccount: { serviceAccountName: "y" } },
    },
    `volumes[2].serviceAccount ${INVALID}`,
  ],
  [
    "two memory dumps",
    {
      "volumes[1]": { name: "a", memoryDump: { claimName: "x" } },
      "volumes[2]": { name: "b", memoryDump: { claimName: "y" } },
    },
    `volumes[2].memoryDump ${INVALID}`,
  ],
  [
    "answers of two sources",
    source({ sysprep: { secret: { name: "s" }, configMap: { name: "c" } } }),
    `volumes[0].sysprep ${INVALID}`,
  ],
  ["answers of no source", source({ sysprep: {} }), `volumes[0].sysprep ${REQUIRED}`],
  [
    "a host's disk without path",
    source({ hostDisk: { path: "", type: "Disk" } }),
    `volumes[0].hostDisk.path ${REQUIRED}`,
  ],
  [
    "a host's disk to make of no size",
    source({ hostDisk: { path: "/d", type: "DiskOrCreate" } }),
    `volumes[0].hostDisk.capacity ${REQUIRED}`,
  ],
  [
    "a host's disk with a size",
    source({ hostDisk: { path: "/d", type: "Disk", capacity: "1Gi" } }),
    `volumes[0].hostDisk.capacity ${INVALID}`,
  ],
  [
    "a host's disk of an unknown type",
    source({ hostDisk: { path: "/d", type: "Maybe" } }),
    `volumes[0].hostDisk.type ${UNSUPPORTED}`,
  ],
  ["a seed of nothing", seed({}), `${SEED} ${REQUIRED}`],
  [
    "user data twice",
    seed({ userData: "#cloud-config", userDataBase64: "eA==" }),
    `${SEED} ${INVALID}`,
  ],
  [
    "network data twice",
    seed({ networkData: "version: 2", networkDataSecretRef: { name: "n" } }),
    `${SEED} ${INVALID}`,
  ],
  ["long user data", seed({ userData: "x".repeat(2049) }), `${SEED}.userData ${INVALID}`],
  ["long user data in bytes", seed({ userData: "ü".repeat(1025) }), `${SEED}.userData ${INVALID}`],
  ["long network data", seed({ networkData: "x".repeat(2049) }), `${SEED}.networkData ${INVALID}`],
  [
    "user data that is no base64",
    seed({ userDataBase64: "%%" }),
    `${SEED}.userDataBase64 ${INVALID}`,
  ],
  [
    "long user data in base64",
    seed({ userDataBase64: Buffer.alloc(2049).toString("base64") }),
    `${SEED}.userDataBase64 ${INVALID}`,
  ],
  [
    "a secret without name",
    seed({ secretRef: { name: "" } }),
    `${SEED}.secretRef.name ${REQUIRED}`,
  ],
];

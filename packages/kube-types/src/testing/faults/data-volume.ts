import { INVALID, REQUIRED, UNSUPPORTED, type ByPath, type FaultRow } from "../objects.ts";

export const volume = {
  apiVersion: "cdi.kubevirt.io/v1beta1",
  kind: "DataVolume",
  spec: {
    source: { http: { url: "https://images.example/debian.qcow2" } },
    storage: { resources: { requests: { storage: "10Gi" } } },
  },
};

export const from = (source: object): ByPath => ({ source });
export const sha256 = "a".repeat(64);
export const modes = (...accessModes: string[]): ByPath => ({
  storage: undefined,
  pvc: { accessModes, resources: { requests: { storage: "1Gi" } } },
});

export const DATA_VOLUME_FAULTS: readonly FaultRow[] = [
  ["no source", { source: undefined }, ` ${REQUIRED}`],
  ["a source and a reference", { sourceRef: { kind: "DataSource", name: "d" } }, ` ${INVALID}`],
  ["no target", { storage: undefined }, ` ${REQUIRED}`],
  [
    "two targets",
    { pvc: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } },
    ` ${INVALID}`,
  ],
  ["a source of nothing", from({}), `source ${REQUIRED}`],
  ["two sources", from({ blank: {}, upload: {} }), `source ${INVALID}`],
  ["an unknown source", from({ ftp: {} }), `source.ftp ${INVALID}`],
  ["no size", { storage: {} }, `storage.resources.requests.storage ${REQUIRED}`],
  [
    "a size of nothing",
    { "storage.resources.requests.storage": "0" },
    `storage.resources.requests.storage ${INVALID}`,
  ],
  [
    "a size below nothing",
    { "storage.resources.requests.storage": "-1Gi" },
    `storage.resources.requests.storage ${INVALID}`,
  ],
  [
    "a size that is none",
    { "storage.resources.requests.storage": "big" },
    `storage.resources.requests.storage ${INVALID}`,
  ],
  [
    "two access modes",
    { "storage.accessModes": ["ReadWriteOnce", "ReadWriteMany"] },
    `storage.accessModes ${INVALID}`,
  ],
  [
    "an unknown access mode",
    { "storage.accessModes": ["WriteOnly"] },
    `storage.accessModes[0] ${UNSUPPORTED}`,
  ],
  ["an unknown volume mode", { "storage.volumeMode": "Tape" }, `storage.volumeMode ${UNSUPPORTED}`],
  ["a claim of no access mode", modes(), `pvc.accessModes ${REQUIRED}`],
  [
    "a claim of two data sources",
    {
      ...modes("ReadWriteOnce"),
      "pvc.dataSource": { kind: "k", name: "n" },
      "pvc.dataSourceRef": { kind: "k", name: "n" },
    },
    `pvc ${INVALID}`,
  ],
  [
    "a reference to another kind",
    { source: undefined, sourceRef: { kind: "Secret", name: "d" } },
    `sourceRef.kind ${UNSUPPORTED}`,
  ],
  [
    "a reference of no name",
    { source: undefined, sourceRef: { kind: "DataSource", name: "" } },
    `sourceRef.name ${REQUIRED}`,
  ],
  ["no URL", from({ http: { url: "" } }), `source.http.url ${REQUIRED}`],
  ["no URL at all", from({ http: {} }), `source.http.url ${REQUIRED}`],
  ["a path for a URL", from({ http: { url: "/etc/passwd" } }), `source.http.url ${INVALID}`],
  ["a file for a URL", from({ http: { url: "file:///etc/passwd" } }), `source.http.url ${INVALID}`],
  ["a URL of no host", from({ http: { url: "http:disk" } }), `source.http.url ${INVALID}`],
  [
    "a checksum of no algorithm",
    from({ http: { url: "http://h/d", checksum: "abc" } }),
    `source.http.checksum ${UNSUPPORTED}`,
  ],
  [
    "a checksum too short",
    from({ http: { url: "http://h/d", checksum: "sha256:abc" } }),
    `source.http.checksum ${INVALID}`,
  ],
  [
    "a checksum of odd digits",
    from({ http: { url: "http://h/d", checksum: `sha256:${"g".repeat(64)}` } }),
    `source.http.checksum ${INVALID}`,
  ],
  [
    "an algorithm of objects",
    from({ http: { url: "http://h/d", checksum: "constructor:1" } }),
    `source.http.checksum ${UNSUPPORTED}`,
  ],
  ["S3 by another scheme", from({ s3: { url: "gs://bucket/d" } }), `source.s3.url ${INVALID}`],
  ["GCS by another scheme", from({ gcs: { url: "s3://bucket/d" } }), `source.gcs.url ${INVALID}`],
  ["a registry of nothing", from({ registry: {} }), `source.registry ${REQUIRED}`],
  [
    "a registry of two sources",
    from({ registry: { url: "docker://i", imageStream: "s", pullMethod: "node" } }),
    `source.registry ${INVALID}`,
  ],
  ["a registry by http", from({ registry: { url: "http://i" } }), `source.registry.url ${INVALID}`],
  [
    "a stream pulled by a pod",
    from({ registry: { imageStream: "s" } }),
    `source.registry.pullMethod ${INVALID}`,
  ],
  [
    "an unknown way to pull",
    from({ registry: { url: "docker://i", pullMethod: "hand" } }),
    `source.registry.pullMethod ${UNSUPPORTED}`,
  ],
  ["a copy of no name", from({ pvc: { namespace: "n", name: "" } }), `source.pvc.name ${REQUIRED}`],
  [
    "a snapshot of no name",
    from({ snapshot: { namespace: "n", name: "" } }),
    `source.snapshot.name ${REQUIRED}`,
  ],
  [
    "no disk of imageio",
    from({ imageio: { url: "https://h/api", diskId: "" } }),
    `source.imageio.diskId ${REQUIRED}`,
  ],
  [
    "half of vddk",
    from({ vddk: { url: "https://v", uuid: "u", backingFile: "b", secretRef: "s" } }),
    `source.vddk.thumbprint ${REQUIRED}`,
  ],
  ["an unknown content", { contentType: "tape" }, `contentType ${UNSUPPORTED}`],
  [
    "an archive of nothing",
    { ...from({ blank: {} }), contentType: "archive" },
    `contentType ${INVALID}`,
  ],
  [
    "an archive in a device",
    { contentType: "archive", "storage.volumeMode": "Block" },
    `contentType ${INVALID}`,
  ],
  [
    "an archive with all its room",
    { contentType: "archive", preallocation: true },
    `preallocation ${INVALID}`,
  ],
  [
    "check points of http",
    { checkpoints: [{ previous: "", current: "a" }] },
    `checkpoints ${INVALID}`,
  ],
];

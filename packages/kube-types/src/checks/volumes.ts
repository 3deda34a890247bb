import type { Volume } from "../kubevirt/volumes.ts";
import { amountOf, atMostOne, exactlyOne, filled, setOf, unique } from "./fields.ts";
import { checkForm } from "./names.ts";
import { type Report, shown } from "./report.ts";

const SOURCES = [
  "hostDisk",
  "persistentVolumeClaim",
  "cloudInitNoCloud",
  "cloudInitConfigDrive",
  "sysprep",
  "containerDisk",
  "ephemeral",
  "emptyDisk",
  "dataVolume",
  "configMap",
  "secret",
  "downwardAPI",
  "serviceAccount",
  "downwardMetrics",
  "memoryDump",
  "containerPath",
] as const satisfies readonly (keyof Volume)[];

/** Of these a machine has one at most. */
const SINGLE = ["serviceAccount", "downwardMetrics", "memoryDump"] as const;

export function checkVolumes(volumes: readonly Volume[], at: string, report: Report): void {
  unique(
    volumes,
    ({ name }) => name,
    (index) => `${at}[${index}].name`,
    report,
  );
  for (const kind of SINGLE) {
    const first = volumes.findIndex((volume) => volume[kind] !== undefined);
    volumes.forEach((volume, index) => {
      if (volume[kind] === undefined || index === first) return;
      report.invalid(`${at}[${index}].${kind}`, "is there twice; one volume of its kind may be");
    });
  }
  volumes.forEach((volume, index) => {
    checkVolume(volume, `${at}[${index}]`, report);
  });
}

function checkVolume(volume: Volume, at: string, report: Report): void {
  filled(volume.name, `${at}.name`, report);
  checkForm("label", volume.name, `${at}.name`, report);
  exactlyOne(volume, SOURCES, at, report);
  const { cloudInitNoCloud, cloudInitConfigDrive, sysprep, emptyDisk, hostDisk, ephemeral } =
    volume;
  if (cloudInitNoCloud !== undefined) checkSeed(cloudInitNoCloud, `${at}.cloudInitNoCloud`, report);
  if (cloudInitConfigDrive !== undefined) {
    checkSeed(cloudInitConfigDrive, `${at}.cloudInitConfigDrive`, report);
  }
  if (sysprep !== undefined) exactlyOne(sysprep, ["configMap", "secret"], `${at}.sysprep`, report);
  if (hostDisk !== undefined) checkHostDisk(hostDisk, `${at}.hostDisk`, report);
  if (emptyDisk !== undefined && (amountOf(emptyDisk.capacity) ?? 0n) <= 0n) {
    report.invalid(`${at}.emptyDisk.capacity`, "must be more than nothing");
  }
  if (ephemeral !== undefined) {
    filled(
      ephemeral.persistentVolumeClaim?.claimName,
      `${at}.ephemeral.persistentVolumeClaim.claimName`,
      report,
    );
  }
  checkNames(volume, at, report);
}

/** What a source is called by must be there. */
function checkNames(volume: Volume, at: string, report: Report): void {
  const named = [
    [volume.persistentVolumeClaim, "persistentVolumeClaim.claimName", "claimName"],
    [volume.dataVolume, "dataVolume.name", "name"],
    [volume.containerDisk, "containerDisk.image", "image"],
    [volume.configMap, "configMap.name", "name"],
    [volume.secret, "secret.secretName", "secretName"],
    [volume.serviceAccount, "serviceAccount.serviceAccountName", "serviceAccountName"],
    [volume.memoryDump, "memoryDump.claimName", "claimName"],
    [volume.containerPath, "containerPath.path", "path"],
  ] as const;
  for (const [source, field, key] of named) {
    if (source === undefined) continue;
    filled((source as Readonly<Record<string, string | undefined>>)[key], `${at}.${field}`, report);
  }
}

function checkHostDisk(
  { path, type, capacity }: NonNullable<Volume["hostDisk"]>,
  at: string,
  report: Report,
): void {
  filled(path, `${at}.path`, report);
  filled(type, `${at}.type`, report);
  if (type === "DiskOrCreate" && capacity === undefined) {
    report.required(`${at}.capacity`, "is required by the type DiskOrCreate");
  }
  if (type === "Disk" && capacity !== undefined) {
    report.invalid(`${at}.capacity`, "stands with the type DiskOrCreate only");
  }
}

/** Inline data of cloud-init; more belongs into a Secret. */
const MAX_INLINE = 2048;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

type Seed = NonNullable<Volume["cloudInitNoCloud"]>;

const USER_DATA = ["userData", "userDataBase64", "secretRef"] as const;
const NETWORK_DATA = ["networkData", "networkDataBase64", "networkDataSecretRef"] as const;

function checkSeed(seed: Seed, at: string, report: Report): void {
  if (setOf(seed, [...USER_DATA, ...NETWORK_DATA]).length === 0) {
    report.required(at, `must have one of ${[...USER_DATA, ...NETWORK_DATA].join(", ")}`);
  }
  atMostOne(seed, USER_DATA, at, report);
  atMostOne(seed, NETWORK_DATA, at, report);
  for (const name of ["userData", "networkData"] as const) {
    if (Buffer.byteLength(seed[name] ?? "") > MAX_INLINE) tooLong(`${at}.${name}`, report);
    const encoded = seed[`${name}Base64`] ?? "";
    if (!BASE64.test(encoded)) {
      report.invalid(`${at}.${name}Base64`, `is ${shown(encoded)}, which is not base64`);
    } else if (Buffer.byteLength(encoded, "base64") > MAX_INLINE) {
      tooLong(`${at}.${name}Base64`, report);
    }
  }
  for (const name of ["secretRef", "networkDataSecretRef"] as const) {
    if (seed[name] !== undefined) filled(seed[name].name, `${at}.${name}.name`, report);
  }
}

function tooLong(at: string, report: Report): void {
  report.invalid(at, `is longer than ${MAX_INLINE} bytes: put it into a Secret`);
}

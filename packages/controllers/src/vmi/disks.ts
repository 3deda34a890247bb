import type { Disk, VirtualMachineInstanceSpec, Volume } from "@trine/kube-types";
import { type DiskOfVolume, holdsFiles, rootDisk, shortName, toldDisks } from "./disk-names.ts";
import { type DiskEntry, type Parts, defined, joined, refused } from "./parts.ts";
import { type LaunchSettings, bytesOf } from "./settings.ts";
import type { KnownClaim } from "./known.ts";
import { quantityOf } from "./cpu-memory.ts";
import { filesAt, labelOf, textVolume } from "./text-volumes.ts";

/** Where volumes with disks are in the machine's container; nothing below /trine.dev is shared with the guest. */
const DISKS = "/trine.dev/disks";
const MIB = 1024 ** 2;
const LABEL = /^[A-Za-z0-9_-]{1,16}$/;
const SERIAL = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,19}$/;

/** What is known of a claim by its name; undefined: it is not there. */
export type Claims = (name: string) => KnownClaim | undefined;

interface Placing {
  readonly disk: Disk;
  readonly volume: Volume;
  readonly isRoot: boolean;
  readonly name: string;
  readonly at: string;
  readonly claims: Claims;
  readonly settings: LaunchSettings;
}

/** The disks with what stands behind them. `image`: of the machine's container, where its root is an image's. */
export function diskParts(
  spec: VirtualMachineInstanceSpec,
  claims: Claims,
  settings: LaunchSettings,
): Parts & { readonly image?: { readonly image: string; readonly pullPolicy?: string } } {
  const root = rootDisk(spec);
  const parts = toldDisks(spec).map((each) =>
    placed(each, each.disk === root?.disk, spec, claims, settings),
  );
  const containerDisk = imageOf(root);
  // A machine of KubeVirt's starts without any disk, too: its firmware then finds nothing to boot.
  const none: Parts = root === undefined ? { annotations: { "trine.dev/root": "none" } } : {};
  const all = joined([...parts, none]);
  if (containerDisk === undefined) return all;
  const { image, imagePullPolicy: pullPolicy } = containerDisk;
  return { ...all, image: { image, ...defined({ pullPolicy }) } };
}

/** The image that is the machine's container's; undefined: its root is a volume, and that image is empty. */
function imageOf(root: DiskOfVolume | undefined): ContainerDisk | undefined {
  return root === undefined || isPathed(root.volume) ? undefined : root.volume.containerDisk;
}

export function isRootVolume(spec: VirtualMachineInstanceSpec): boolean {
  return imageOf(rootDisk(spec)) === undefined;
}

function placed(
  { disk, volume }: DiskOfVolume,
  isRoot: boolean,
  spec: VirtualMachineInstanceSpec,
  claims: Claims,
  settings: LaunchSettings,
): Parts {
  const index = (spec.volumes ?? []).indexOf(volume);
  const at = `spec.volumes[${index}]`;
  const name = isRoot ? "root" : shortName(volume.name);
  const placing: Placing = { disk, volume, isRoot, name, at, claims, settings };
  if (volume.containerDisk !== undefined) return ofImage(placing, volume.containerDisk);
  if (volume.emptyDisk !== undefined) {
    const bytes = Math.ceil((bytesOf(volume.emptyDisk.capacity) ?? 0) / MIB) * MIB;
    return entry(placing, { empty: true, size: quantityOf(Math.max(bytes, MIB)) });
  }
  if (volume.hostDisk !== undefined) return ofHost(placing, volume.hostDisk);
  if (holdsFiles(volume)) return ofFiles(placing);
  return ofClaim(placing);
}

function isReadOnly({ disk, cdrom, lun }: Disk): boolean {
  return cdrom !== undefined || disk?.readonly === true || lun?.readonly === true;
}

/** The bus a disk is on here, for one it asks for. */
export function busOf(disk: Disk): "virtio" | "scsi" | "sata" {
  const said = disk.disk?.bus ?? disk.cdrom?.bus ?? disk.lun?.bus;
  if (disk.cdrom !== undefined) return said === "scsi" ? "scsi" : "sata";
  if (said === "scsi") return "scsi";
  if (said === "virtio") return "virtio";
  // SATA's disks are always written; USB's are none of the level's.
  return isReadOnly(disk) ? "scsi" : "sata";
}

/** SATA has no threads. */
export function hasOwnThread(disk: Disk): boolean {
  return disk.dedicatedIOThread === true && busOf(disk) !== "sata";
}

/** An entry of trine.dev/disks; `source` says where its bytes are. */
function entry(
  { disk, name }: Placing,
  source: Readonly<Record<string, unknown>>,
  parts: Parts = {},
): Parts {
  const serial = disk.serial !== undefined && SERIAL.test(disk.serial) ? disk.serial : undefined;
  const { cache, bootOrder: boot, shareable, errorPolicy } = disk;
  const writes = !isReadOnly(disk) && source["ephemeral"] !== true && source["empty"] !== true;
  const said: DiskEntry = {
    name,
    ...source,
    ...defined({
      bus: busOf(disk),
      serial,
      cache,
      // Native I/O past the page cache only, as everywhere.
      io: disk.io === "native" && cache !== "none" ? undefined : disk.io,
      // As KubeVirt has it: a guest that is told of an error may lose what it thinks is written.
      onError: errorPolicy === "enospace" ? "enospc" : (errorPolicy ?? "stop"),
      boot,
      cdrom: disk.cdrom === undefined ? undefined : true,
      readOnly:
        disk.cdrom === undefined && isReadOnly(disk) && source["empty"] !== true ? true : undefined,
      shared: shareable === true && writes ? true : undefined,
      ownThread: hasOwnThread(disk) ? true : undefined,
    }),
  };
  return joined([parts, { disks: [said] }]);
}

/** Files that the API holds, as a disk with a label; a volume that is a directory as well has one place for each. */
function ofFiles(placing: Placing): Parts {
  const { volume, at, name } = placing;
  const said = labelOf(volume);
  if (said !== undefined && !LABEL.test(said.label)) {
    return refused(
      `${at}.${said.field}`,
      "is no label of a disk: 1 to 16 of letters, digits, _ and -",
    );
  }
  const mountPath = `${DISKS}/${name}`;
  const source = { files: filesAt(volume, mountPath), ...defined({ label: said?.label }) };
  const here = { ...placing, disk: unwritten(placing.disk) };
  const ofPod = textVolume(volume);
  // The token of a service account: Kubernetes mounts it.
  if (ofPod === undefined) return entry(here, source);
  const volumes = [{ name: volume.name, ...ofPod }];
  const mounts = [{ name: volume.name, mountPath, readOnly: true }];
  return entry(here, source, { volumes, mounts });
}

/** Such a disk is never written, whatever it says; on SATA the node makes a drive of it. */
function unwritten(of: Disk): Disk {
  const bus = defined({ bus: of.disk?.bus ?? of.lun?.bus });
  return { ...of, shareable: false, disk: bus, ...(of.lun === undefined ? {} : { lun: {} }) };
}

type ContainerDisk = NonNullable<Volume["containerDisk"]>;

function isPathed({ containerDisk }: Volume): boolean {
  const path = containerDisk?.path;
  return path !== undefined && path !== "" && path.replace(/\/$/, "") !== "/disk";
}

function ofImage(
  placing: Placing,
  { image, path, imagePullPolicy, imagePullSecret }: ContainerDisk,
): Parts {
  const pullSecrets =
    imagePullSecret === undefined || imagePullSecret === "" ? [] : [imagePullSecret];
  if (placing.isRoot && !isPathed(placing.volume)) return entry(placing, {}, { pullSecrets });
  if (!placing.settings.imageVolumes) {
    const why =
      "the cluster has images as volumes turned off: one containerDisk is possible, the one that boots";
    return refused(`${placing.at}.containerDisk`, why);
  }
  const mountPath = `${DISKS}/${placing.name}`;
  const volume = {
    name: placing.volume.name,
    image: { reference: image, ...defined({ pullPolicy: imagePullPolicy }) },
  };
  const parts = {
    pullSecrets,
    volumes: [volume],
    mounts: [{ name: placing.volume.name, mountPath, readOnly: true }],
  };
  if (!isPathed(placing.volume)) return entry(placing, { image: mountPath }, parts);
  const file = `${mountPath}/${(path ?? "").replace(/^\//, "")}`;
  return entry(placing, { file, ...(isReadOnly(placing.disk) ? {} : { ephemeral: true }) }, parts);
}

function ofHost(
  placing: Placing,
  { path, type, capacity, shared }: NonNullable<Volume["hostDisk"]>,
): Parts {
  const slash = path.lastIndexOf("/");
  const dir = path.slice(0, slash) === "" ? "/" : path.slice(0, slash);
  const mountPath = `${DISKS}/${placing.name}`;
  const makes = type === "DiskOrCreate";
  const bytes = bytesOf(capacity);
  const { name } = placing.volume;
  const hostPath = { path: dir, type: makes ? "DirectoryOrCreate" : "Directory" };
  const readOnly = isReadOnly(placing.disk);
  const size = makes && bytes !== undefined && !readOnly ? { size: quantityOf(bytes) } : {};
  return entry(
    placing,
    {
      file: `${mountPath}/${path.slice(slash + 1)}`,
      ...size,
      ...(shared === true && !readOnly ? { shared } : {}),
    },
    {
      volumes: [{ name, hostPath }],
      mounts: [{ name, mountPath, ...(readOnly ? { readOnly } : {}) }],
    },
  );
}

/** The claim of a volume that has one, and whether its disk stays as it is. */
export function claimOf(
  volume: Volume,
): { readonly claimName: string; readonly readOnly: boolean; readonly field: string } | undefined {
  const { persistentVolumeClaim: claim, dataVolume, ephemeral } = volume;
  if (claim !== undefined) {
    return {
      claimName: claim.claimName,
      readOnly: claim.readOnly ?? false,
      field: "persistentVolumeClaim.claimName",
    };
  }
  if (dataVolume !== undefined) {
    return { claimName: dataVolume.name, readOnly: false, field: "dataVolume.name" };
  }
  const under = ephemeral?.persistentVolumeClaim;
  if (under === undefined) return undefined;
  return {
    claimName: under.claimName,
    readOnly: false,
    field: "ephemeral.persistentVolumeClaim.claimName",
  };
}

function ofClaim(placing: Placing): Parts {
  const { volume, claims, at } = placing;
  const source = claimOf(volume);
  if (source === undefined) return refused(at, "is no volume that a disk can be made of");
  const claim = claims(source.claimName);
  if (claim === undefined) {
    return refused(
      `${at}.${source.field}`,
      `there is no PersistentVolumeClaim ${source.claimName}`,
    );
  }
  const disk = source.readOnly ? readOnlyDisk(placing.disk) : placing.disk;
  const here = { ...placing, disk };
  const { name } = volume;
  const readOnly = isReadOnly(disk);
  const ephemeral = volume.ephemeral === undefined || readOnly ? {} : { ephemeral: true };
  const mountsOnly = readOnly || volume.ephemeral !== undefined;
  const persistentVolumeClaim = { claimName: source.claimName, ...(readOnly ? { readOnly } : {}) };
  const volumes = [{ name, persistentVolumeClaim }];
  if (claim.block) {
    const devicePath = `/dev/trine/${placing.name}`;
    return entry(
      here,
      { device: devicePath, ...ephemeral },
      { volumes, devices: [{ name, devicePath }] },
    );
  }
  const mountPath = `${DISKS}/${placing.name}`;
  const room = Math.floor((claim.capacityBytes * (1 - claim.overhead)) / MIB) * MIB;
  // A file that is not there yet is made, one that is smaller grows with its volume.
  const size = mountsOnly || room < MIB ? {} : { size: quantityOf(room) };
  const mounts = [{ name, mountPath, ...(mountsOnly ? { readOnly: true } : {}) }];
  return entry(here, { file: mountPath, ...size, ...ephemeral }, { volumes, mounts });
}

function readOnlyDisk(disk: Disk): Disk {
  if (disk.cdrom !== undefined) return disk;
  return {
    ...disk,
    disk: { ...disk.disk, ...defined({ bus: disk.disk?.bus ?? disk.lun?.bus }), readonly: true },
  };
}

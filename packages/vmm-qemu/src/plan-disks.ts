import { shareDevices } from "@trine/vmm";
import type { DiskSpec, MachineSpec } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";
import { generation } from "./generation.ts";
import { option } from "./option.ts";
import { DISK_SLOTS, slot } from "./pci-slots.ts";
import { type DiskThreads, diskThreads, queuesOf, threadArguments } from "./plan-threads.ts";

/** The disk's own name of a node of it. */
export function nameOfNode(node: string): string {
  return node.replace(/^disk-/, "");
}

/** Name of the block node that is a disk as the guest sees it. */
export function diskNode(name: string): string {
  return `disk-${name}`;
}

interface ImageFile extends Pick<DiskSpec, "path" | "source" | "cache" | "io" | "discard"> {
  readonly writable: boolean;
}

/** Those with a PCI slot of their own. */
export function virtioDisks({ disks }: Pick<MachineSpec, "disks">): readonly DiskSpec[] {
  return disks.filter(({ bus }) => bus === "virtio");
}

/** Controllers, and the shares, stand in the last slots of the disks', so that one more disk moves none. */
export function controllerSlots(
  spec: Pick<MachineSpec, "disks" | "shares" | "fileSystems" | "hardware">,
): {
  scsi?: number;
  sata?: number;
  shares?: number;
  /** Behind which devices of the host are. */
  ports?: number;
} {
  const [ports, shares, sata, scsi] = DISK_SLOTS.slice(-4);
  const hasPorts = (spec.hardware?.passthrough ?? []).length > 0;
  const has = (bus: DiskSpec["bus"]): boolean => spec.disks.some((disk) => disk.bus === bus);
  return {
    ...(scsi !== undefined && has("scsi") ? { scsi } : {}),
    ...(sata !== undefined && has("sata") ? { sata } : {}),
    ...(shares !== undefined && shareDevices(spec).length > 0 ? { shares } : {}),
    ...(ports !== undefined && hasPorts ? { ports } : {}),
  };
}

/** Slots that are left to disks and to the slots of a machine that runs: those before the first controller. */
export function diskRoom(spec: Parameters<typeof controllerSlots>[0]): number {
  const taken = Object.values(controllerSlots(spec));
  return DISK_SLOTS.filter((each) => taken.every((controller) => each < controller)).length;
}

/**
 * QEMU opens no path of its own: each file is a descriptor, reached as /dev/fdset/N. Nodes are given
 * whole, backing image included, so nothing in a file's header is followed.
 */
export function diskArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  const { scsi, sata } = controllerSlots(spec);
  const seen = { virtio: 0, scsi: 0, sata: 0 };
  const threads = diskThreads(spec);
  return [
    ...threadArguments(threads),
    ...(scsi === undefined
      ? []
      : [
          "-device",
          option("virtio-scsi-pci", {
            ...{ id: "scsi", addr: slot(scsi), ...generation(spec) },
            ...{ iothread: threads.scsi, num_queues: queuesOf(spec) },
          }),
        ]),
    ...(sata === undefined
      ? []
      : ["-device", option("ich9-ahci", { id: "sata", addr: slot(sata) })]),
    ...spec.disks.flatMap((disk) => [
      ...imageArguments(disk, table),
      "-device",
      deviceOption(spec, threads, disk, seen[disk.bus]++),
    ]),
  ];
}

/** `index`: among the disks of its bus. */
function deviceOption(
  spec: MachineSpec,
  threads: DiskThreads,
  disk: DiskSpec,
  index: number,
): string {
  const { bus, media, cache, shared } = disk;
  const common = { drive: diskNode(disk.name), id: diskNode(disk.name) };
  const serial = { serial: disk.serial ?? disk.name, bootindex: disk.bootIndex };
  const rest = {
    ...(cache === "writethrough" ? { "write-cache": false } : {}),
    ...(shared === true ? { "share-rw": true } : {}),
    // Where nothing is said nobody may be there who resumes it: a machine stopped on a full disk would hang for ever.
    ...errorPolicy(disk),
  };
  const kind = media === "cdrom" ? "cd" : "hd";
  switch (bus) {
    case "virtio": {
      const addr = slot(DISK_SLOTS[index]);
      return option("virtio-blk-pci", {
        ...common,
        addr,
        ...serial,
        ...generation(spec),
        ...{ iothread: threads.disks.get(disk.name), "num-queues": queuesOf(spec) },
        ...rest,
      });
    }
    case "scsi":
      return option(`scsi-${kind}`, {
        ...common,
        bus: "scsi.0",
        "scsi-id": index,
        lun: 0,
        ...serial,
        ...rest,
      });
    case "sata":
      return option(`ide-${kind}`, { ...common, bus: `sata.${index}`, ...serial, ...rest });
  }
}

/** A read cannot lack space. */
function errorPolicy({ onError = "report" }: DiskSpec): { rerror: string; werror: string } {
  return { rerror: onError === "enospc" ? "report" : onError, werror: onError };
}

function imageArguments(disk: DiskSpec, table: DescriptorTable): string[] {
  const node = diskNode(disk.name);
  const writable = !disk.readOnly;
  const { backing } = disk;
  const top = {
    driver: disk.format,
    "node-name": node,
    file: `${node}-file`,
    ...(disk.offsetBytes === undefined ? {} : { offset: disk.offsetBytes }),
    "read-only": disk.readOnly,
    // Blocks the guest discards leave the overlay: it is counted against the pod's storage.
    ...(writable ? { discard: discardOf(disk) } : {}),
  };
  if (backing === undefined) {
    return [
      ...fileArguments(`${node}-file`, { ...disk, writable }, table),
      ...blockdev(disk.format === "qcow2" ? { ...top, backing: null } : top),
    ];
  }
  const base = `base-${disk.name}`;
  return [
    ...fileArguments(`${base}-file`, { ...backing, writable: false }, table),
    ...blockdev({
      driver: backing.format,
      "node-name": base,
      file: `${base}-file`,
      "read-only": true,
      ...(backing.format === "qcow2" ? { backing: null } : {}),
    }),
    ...fileArguments(`${node}-file`, { ...disk, writable }, table),
    ...blockdev({ ...top, backing: base }),
  ];
}

/**
 * File locks stay on: read-only images are shared by any number of machines, a writable one belongs to
 * one, and qemu-img refuses to write under a running machine.
 */
export function fileArguments(node: string, file: ImageFile, table: DescriptorTable): string[] {
  const { path, writable, cache, io } = file;
  const number = table.add({ kind: "file", path, writable });
  return [
    "-add-fd",
    option(`fd=${number}`, { set: number }),
    ...blockdev({
      driver: file.source === "block-device" ? "host_device" : "file",
      "node-name": node,
      filename: `/dev/fdset/${number}`,
      "read-only": !writable,
      ...(cache === "none" ? { cache: { direct: true } } : {}),
      ...(io === undefined ? {} : { aio: io }),
      ...(writable ? { discard: discardOf(file) } : {}),
    }),
  ];
}

function discardOf({ discard }: Pick<DiskSpec, "discard">): string {
  return discard === false ? "ignore" : "unmap";
}

/** As JSON: `backing: null` cannot be said in QEMU's key=value form. */
export function blockdev(node: Readonly<Record<string, unknown>>): string[] {
  return ["-blockdev", JSON.stringify(node)];
}

import type { DiskSpec, MachineSpec } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";
import { option } from "./option.ts";
import { DISK_SLOTS, slot } from "./pci-slots.ts";

/** Name of the block node that is a disk as the guest sees it. */
export function diskNode(name: string): string {
  return `disk-${name}`;
}

interface ImageFile {
  readonly path: string;
  readonly source?: DiskSpec["source"];
  readonly writable: boolean;
}

/**
 * QEMU opens no path of its own: each file is a descriptor, reached as /dev/fdset/N. Nodes are given
 * whole, backing image included, so nothing in a file's header is followed.
 */
export function diskArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  return spec.disks.flatMap((disk, index) => [
    ...imageArguments(disk, table),
    "-device",
    option("virtio-blk-pci", {
      drive: diskNode(disk.name),
      id: diskNode(disk.name),
      addr: slot(DISK_SLOTS[index]),
      serial: disk.name,
      bootindex: disk.bootIndex,
      "disable-legacy": true,
      // Without somebody who resumes it, a machine stopped on a full disk would hang for ever.
      rerror: "report",
      werror: "report",
    }),
  ]);
}

function imageArguments(disk: DiskSpec, table: DescriptorTable): string[] {
  const node = diskNode(disk.name);
  const writable = !disk.readOnly;
  const { backing } = disk;
  const top = {
    driver: disk.format,
    "node-name": node,
    file: `${node}-file`,
    "read-only": disk.readOnly,
    // Blocks the guest discards leave the overlay: it is counted against the pod's storage.
    ...(writable ? { discard: "unmap" } : {}),
  };
  if (backing === undefined) {
    return [
      ...fileArguments(`${node}-file`, { ...disk, writable }, table),
      ...blockdev(disk.format === "qcow2" ? { ...top, backing: null } : top),
    ];
  }
  const base = `base-${disk.name}`;
  return [
    ...fileArguments(`${base}-file`, { path: backing.path, writable: false }, table),
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
  const { path, writable } = file;
  const number = table.add({ kind: "file", path, writable });
  return [
    "-add-fd",
    option(`fd=${number}`, { set: number }),
    ...blockdev({
      driver: file.source === "block-device" ? "host_device" : "file",
      "node-name": node,
      filename: `/dev/fdset/${number}`,
      "read-only": !writable,
      ...(writable ? { discard: "unmap" } : {}),
    }),
  ];
}

/** As JSON: `backing: null` cannot be said in QEMU's key=value form. */
export function blockdev(node: Readonly<Record<string, unknown>>): string[] {
  return ["-blockdev", JSON.stringify(node)];
}

import { MACHINE_DIR } from "@trine/vmm";
import type { HardwareSpec, MachineSpec } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";
import { option } from "./option.ts";
import { DISPLAY_SLOT, TABLET_SLOT, besideRng, slot } from "./pci-slots.ts";
import { TPM_SOCKET } from "./plan-tpm.ts";

type Values = Parameters<typeof option>[1];

const VHOST_VSOCK = "/dev/vhost-vsock";

const ADAPTERS = {
  vga: "VGA",
  virtio: "virtio-vga",
  bochs: "bochs-display",
  ramfb: "ramfb",
} as const;

/** What most machines have none of. */
export function deviceArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  const { hardware = {} } = spec;
  return [
    ...panicArguments(hardware),
    ...watchdogArguments(hardware),
    ...usbArguments(hardware, table),
    ...(hardware.keyboard === "virtio"
      ? device("virtio-keyboard-pci", { addr: besideRng("keyboard") })
      : []),
    ...soundArguments(hardware),
    ...vsockArguments(hardware, table),
    ...tpmArguments(hardware),
  ];
}

/** Something stands beside the random number generator, in functions of its slot. */
export function hasFunctions({ hardware = {} }: MachineSpec): boolean {
  const { watchdog, sound, vsockCid, panic, keyboard } = hardware;
  const one = watchdog ?? sound ?? vsockCid ?? keyboard;
  return one !== undefined || panic === "pci" || hasUsb(hardware);
}

function hasUsb({ usb, usbRedirections = 0, tablet, keyboard }: HardwareSpec): boolean {
  return usb === true || usbRedirections > 0 || tablet === "usb" || keyboard === "usb";
}

/**
 * The tablet gives noVNC an absolute pointer. A virtio one where nothing is said, because a USB controller makes the
 * BIOS 150 ms slower; a guest without its driver keeps the PS/2 mouse.
 */
export function displayArguments(spec: MachineSpec): string[] {
  const { video = "vga", tablet = spec.display ? "virtio" : "off" } = spec.hardware ?? {};
  const pointer =
    tablet === "virtio" ? device("virtio-tablet-pci", { addr: slot(TABLET_SLOT) }) : [];
  if (!spec.display) return pointer;
  return [
    ...device(ADAPTERS[video], video === "ramfb" ? {} : { addr: slot(DISPLAY_SLOT) }),
    ...pointer,
    ...["-vnc", option(`unix:${MACHINE_DIR}/vnc.sock`, { share: "force-shared" })],
  ];
}

function panicArguments({ panic = "isa" }: HardwareSpec): string[] {
  if (panic === "isa") return device("pvpanic");
  return panic === "pci" ? device("pvpanic-pci", { addr: besideRng("panic") }) : [];
}

function watchdogArguments({ watchdog }: HardwareSpec): string[] {
  if (watchdog === undefined) return [];
  return [
    ...device("i6300esb", { addr: besideRng("watchdog") }),
    ...["-action", `watchdog=${watchdog}`],
  ];
}

function usbArguments(hardware: HardwareSpec, table: DescriptorTable): string[] {
  if (!hasUsb(hardware)) return [];
  const { usbRedirections = 0, tablet, keyboard } = hardware;
  const places = Array.from({ length: usbRedirections }, (_, index) => `usbredir-${index}`);
  return [
    ...device("qemu-xhci", { id: "usb", addr: besideRng("usb") }),
    ...(tablet === "usb" ? device("usb-tablet", { bus: "usb.0" }) : []),
    ...(keyboard === "usb" ? device("usb-kbd", { bus: "usb.0" }) : []),
    ...places.flatMap((id) => {
      const fd = table.add({ kind: "listen", path: `${MACHINE_DIR}/${id}.sock` });
      return [
        ...["-chardev", option("socket", { id, fd, server: true, wait: false })],
        ...device("usb-redir", { chardev: id, id: `device-${id}`, bus: "usb.0" }),
      ];
    }),
  ];
}

function soundArguments({ sound }: HardwareSpec): string[] {
  if (sound === undefined) return [];
  const addr = besideRng("sound");
  return [
    ...["-audiodev", "none,id=sound0"],
    ...(sound === "ac97"
      ? device("AC97", { audiodev: "sound0", addr })
      : [
          ...device("ich9-intel-hda", { id: "hda", addr }),
          ...device("hda-duplex", { bus: "hda.0", audiodev: "sound0" }),
        ]),
  ];
}

function vsockArguments({ vsockCid }: HardwareSpec, table: DescriptorTable): string[] {
  if (vsockCid === undefined) return [];
  const vhostfd = table.add({ kind: "file", path: VHOST_VSOCK, writable: true });
  return device("vhost-vsock-pci", {
    "guest-cid": vsockCid,
    vhostfd,
    addr: besideRng("vsock"),
    "disable-legacy": true,
  });
}

function tpmArguments({ tpm }: HardwareSpec): string[] {
  if (tpm === undefined) return [];
  return [
    ...["-chardev", option("socket", { id: "tpm", path: TPM_SOCKET })],
    ...["-tpmdev", "emulator,id=tpm0,chardev=tpm"],
    ...device("tpm-crb", { tpmdev: "tpm0" }),
  ];
}

export function device(name: string, values: Values = {}): string[] {
  return ["-device", option(name, values)];
}

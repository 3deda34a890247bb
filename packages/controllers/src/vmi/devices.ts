import type { Devices, DomainSpec, VirtualMachineInstanceSpec } from "@trine/kube-types";
import type { Parts } from "./parts.ts";

/** Slots of KubeVirt's clientPassthrough. */
const USB_SLOTS = "4";
const VIDEO: readonly string[] = ["virtio", "vga", "bochs", "ramfb"];

/** What the guest finds beside its disks and networks. */
export function deviceParts({ devices }: DomainSpec): Parts {
  const { panicDevices, sound, watchdog, clientPassthrough } = devices;
  const [panic] = panicDevices ?? [];
  const action =
    watchdog?.i6300esb === undefined ? undefined : (watchdog.i6300esb.action ?? "reset");
  return {
    annotations: {
      ...display(devices),
      ...tablet(devices),
      ...keyboard(devices),
      ...(devices.useVirtioTransitional === true ? { "trine.dev/virtio-transitional": "on" } : {}),
      ...(devices.autoattachSerialConsole === false ? { "trine.dev/console": "none" } : {}),
      ...(devices.autoattachMemBalloon === false ? { "trine.dev/balloon": "off" } : {}),
      ...(devices.autoattachVSOCK === true ? { "trine.dev/vsock": "on" } : {}),
      ...(devices.networkInterfaceMultiqueue === true
        ? { "trine.dev/network-multiqueue": "on" }
        : {}),
      ...(clientPassthrough === undefined ? {} : { "trine.dev/usb-redirections": USB_SLOTS }),
      ...(action === undefined ? {} : { "trine.dev/watchdog": action }),
      ...(sound === undefined ? {} : { "trine.dev/sound": sound.model ?? "ich9" }),
      ...(panic === undefined ? {} : { "trine.dev/panic": panicModel(panic.model) }),
    },
  };
}

function display({ autoattachGraphicsDevice, video }: Devices): Record<string, string> {
  if (autoattachGraphicsDevice === false) return {};
  const type = video?.type;
  return {
    "trine.dev/display": "on",
    ...(type !== undefined && VIDEO.includes(type) ? { "trine.dev/video": type } : {}),
  };
}

function tablet({ inputs = [], autoattachInputDevice }: Devices): Record<string, string> {
  const found = inputs.find(({ type }) => type === "tablet" || type === "");
  if (found !== undefined) return { "trine.dev/tablet": found.bus === "virtio" ? "virtio" : "usb" };
  return autoattachInputDevice === true && inputs.length === 0 ? { "trine.dev/tablet": "usb" } : {};
}

function keyboard({ inputs = [] }: Devices): Record<string, string> {
  const found = inputs.find(({ type }) => type === "keyboard");
  if (found === undefined) return {};
  return { "trine.dev/keyboard": found.bus === "virtio" ? "virtio" : "usb" };
}

/** KubeVirt's pvpanic is the one on PCI. */
function panicModel(model: string | undefined): string {
  return model === "hyperv" || model === "isa" ? model : "pci";
}

/** Devices of the node: by device plugins, or by claims of dynamic resource allocation. */
export function hostDeviceParts({
  domain,
  resourceClaims = [],
}: VirtualMachineInstanceSpec): Parts {
  const { gpus = [], hostDevices = [] } = domain.devices;
  const wanted = [...gpus, ...hostDevices];
  const counts = new Map<string, number>();
  for (const { deviceName } of wanted) {
    if (deviceName !== undefined) counts.set(deviceName, (counts.get(deviceName) ?? 0) + 1);
  }
  const limits = Object.fromEntries([...counts].map(([name, count]) => [name, String(count)]));
  const claims = wanted.flatMap(({ claimName, requestName }) =>
    claimName === undefined
      ? []
      : [{ name: claimName, ...(requestName === undefined ? {} : { request: requestName }) }],
  );
  return {
    requests: limits,
    limits,
    claims,
    ...(resourceClaims.length === 0 ? {} : { pod: { resourceClaims } }),
  };
}

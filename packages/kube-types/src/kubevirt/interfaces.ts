import {
  type Infer,
  int32,
  integer,
  known,
  list,
  needed,
  object,
  string,
} from "../schema/schema.ts";

const interfaceBridge = object({});

const deprecatedInterfaceSlirp = object({});

export const interfaceMasquerade = object({});

const interfaceSRIOV = object({});

const deprecatedInterfaceMacvtap = object({});

const deprecatedInterfacePasst = object({});

const interfacePasstBinding = object({});

const pluginBinding = object({ name: needed(string()) });

const port = object({ name: string(), protocol: known("TCP", "UDP"), port: needed(int32()) });

const portRange = object({
  protocol: needed(known("TCP", "UDP")),
  start: needed(int32()),
  end: needed(int32()),
});

const dhcpPrivateOptions = object({ option: needed(integer()), value: needed(string()) });

const dhcpOptions = object({
  bootFileName: string(),
  tftpServerName: string(),
  ntpServers: list(string()),
  privateOptions: list(dhcpPrivateOptions),
});

export const networkInterface = object({
  name: needed(string()),
  model: known("virtio", "e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139"),
  bridge: interfaceBridge,
  slirp: deprecatedInterfaceSlirp,
  masquerade: interfaceMasquerade,
  sriov: interfaceSRIOV,
  macvtap: deprecatedInterfaceMacvtap,
  passt: deprecatedInterfacePasst,
  passtBinding: interfacePasstBinding,
  binding: pluginBinding,
  ports: list(port),
  portRanges: list(portRange, { merge: "atomic" }),
  macAddress: string(),
  bootOrder: integer({ minimum: 0 }),
  pciAddress: string(),
  dhcpOptions,
  tag: string(),
  acpiIndex: integer(),
  state: known("absent", "up", "down"),
});
export type Interface = Infer<typeof networkInterface>;

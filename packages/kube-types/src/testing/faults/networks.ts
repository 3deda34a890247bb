import {
  DUPLICATE,
  INVALID,
  REQUIRED,
  UNSUPPORTED,
  type ByPath,
  type FaultRow,
} from "../objects.ts";

const NIC = "domain.devices.interfaces[0]";

const multus = (more: object): ByPath => ({
  "networks[0]": { name: "default", multus: { networkName: "n", ...more } },
  [NIC]: { name: "default", bridge: {} },
});

export const NETWORKS_FAULTS: readonly FaultRow[] = [
  [
    "an interface without network",
    { [`${NIC}.name`]: "other" },
    `networks[0].name ${INVALID}`,
    `${NIC}.name ${INVALID}`,
  ],
  [
    "a network without interface",
    { "networks[1]": { name: "more", multus: { networkName: "n" } } },
    `networks[1].name ${INVALID}`,
  ],
  [
    "two interfaces of a name",
    { "domain.devices.interfaces[1]": { name: "default", masquerade: {} } },
    `domain.devices.interfaces[1].name ${DUPLICATE}`,
  ],
  [
    "two networks of a name",
    { "networks[1]": { name: "default", multus: { networkName: "n" } } },
    `networks[1].name ${DUPLICATE}`,
    `${NIC}.masquerade ${INVALID}`,
  ],
  [
    "a network of nothing",
    { "networks[0]": { name: "default" } },
    `networks[0] ${REQUIRED}`,
    `${NIC}.masquerade ${INVALID}`,
  ],
  [
    "a network of two sources",
    { "networks[0].multus": { networkName: "n" } },
    `networks[0] ${INVALID}`,
  ],
  [
    "a network of no name",
    {
      "networks[0]": { name: "default", multus: { networkName: "" } },
      [NIC]: { name: "default", bridge: {} },
    },
    `networks[0].multus.networkName ${REQUIRED}`,
  ],
  [
    "two networks of the pod",
    {
      "networks[1]": { name: "b", pod: {} },
      "domain.devices.interfaces[1]": { name: "b", masquerade: {} },
    },
    `networks[1].pod ${INVALID}`,
  ],
  [
    "a second default",
    {
      "networks[1]": { name: "b", multus: { networkName: "n", default: true } },
      "domain.devices.interfaces[1]": { name: "b", bridge: {} },
    },
    `networks[1].multus.default ${INVALID}`,
  ],
  [
    "no network of IPv4",
    { "networks[0].pod.vmNetworkCIDR": "10.0.0.0" },
    `networks[0].pod.vmNetworkCIDR ${INVALID}`,
  ],
  [
    "no room for gateway and guest of IPv4",
    { "networks[0].pod.vmNetworkCIDR": "10.0.0.0/31" },
    `networks[0].pod.vmNetworkCIDR ${INVALID}`,
  ],
  [
    "no room for gateway and guest of IPv6",
    { "networks[0].pod.vmIPv6NetworkCIDR": "fd10::/127" },
    `networks[0].pod.vmIPv6NetworkCIDR ${INVALID}`,
  ],
  [
    "no network of IPv6",
    { "networks[0].pod.vmIPv6NetworkCIDR": "10.0.0.0/8" },
    `networks[0].pod.vmIPv6NetworkCIDR ${INVALID}`,
  ],
  ["no binding", { [NIC]: { name: "default" } }, `${NIC} ${REQUIRED}`],
  ["two bindings", { [`${NIC}.bridge`]: {} }, `${NIC} ${INVALID}`],
  ["a binding that is gone", { [NIC]: { name: "default", slirp: {} } }, `${NIC}.slirp ${INVALID}`],
  ["macvtap", { [NIC]: { name: "default", macvtap: {} } }, `${NIC}.macvtap ${INVALID}`],
  [
    "a plugin of no name",
    { [NIC]: { name: "default", binding: { name: "" } } },
    `${NIC}.binding.name ${REQUIRED}`,
  ],
  [
    "masquerade off the pod's network",
    { ...multus({}), [NIC]: { name: "default", masquerade: {} } },
    `${NIC}.masquerade ${INVALID}`,
  ],
  [
    "SR-IOV on the pod's network",
    { [NIC]: { name: "default", sriov: {} } },
    `${NIC}.sriov ${INVALID}`,
  ],
  ["an interface that is not there", { [`${NIC}.state`]: "absent" }, `${NIC}.state ${INVALID}`],
  ["an unknown state", { [`${NIC}.state`]: "flaky" }, `${NIC}.state ${UNSUPPORTED}`],
  ["an unknown model", { [`${NIC}.model`]: "ne1000" }, `${NIC}.model ${UNSUPPORTED}`],
  ["an odd name", { [`${NIC}.name`]: "a b", "networks[0].name": "a b" }, `${NIC}.name ${INVALID}`],
  ["no MAC address", { [`${NIC}.macAddress`]: "de:ad:00:00:be" }, `${NIC}.macAddress ${INVALID}`],
  [
    "a reserved MAC address",
    { [`${NIC}.macAddress`]: "02-00-00-00-00-00" },
    `${NIC}.macAddress ${INVALID}`,
  ],
  [
    "the MAC address of a group",
    { [`${NIC}.macAddress`]: "01:00:5e:00:00:01" },
    `${NIC}.macAddress ${INVALID}`,
  ],
  ["no PCI address", { [`${NIC}.pciAddress`]: "0000:80.10.1" }, `${NIC}.pciAddress ${INVALID}`],
  ["port 0", { [`${NIC}.ports[0]`]: { port: 0 } }, `${NIC}.ports[0].port ${INVALID}`],
  ["port 65536", { [`${NIC}.ports[0]`]: { port: 65536 } }, `${NIC}.ports[0].port ${INVALID}`],
  [
    "a port without number",
    { [`${NIC}.ports[0]`]: { name: "http" } },
    `${NIC}.ports[0].port ${REQUIRED}`,
  ],
  [
    "an unknown protocol",
    { [`${NIC}.ports[0]`]: { port: 1, protocol: "SCTP" } },
    `${NIC}.ports[0].protocol ${UNSUPPORTED}`,
  ],
  [
    "a port twice",
    { [`${NIC}.ports`]: [{ port: 1 }, { port: 1, protocol: "TCP" }] },
    `${NIC}.ports[1] ${DUPLICATE}`,
  ],
  [
    "two ports of a name",
    {
      [`${NIC}.ports`]: [
        { name: "a", port: 1 },
        { name: "a", port: 2 },
      ],
    },
    `${NIC}.ports[1].name ${DUPLICATE}`,
  ],
  [
    "a long name of a port",
    { [`${NIC}.ports[0]`]: { name: "a-name-too-long-for-a-port", port: 1 } },
    `${NIC}.ports[0].name ${INVALID}`,
  ],
  [
    "a range backwards",
    { [`${NIC}.portRanges[0]`]: { protocol: "TCP", start: 2, end: 1 } },
    `${NIC}.portRanges[0].end ${INVALID}`,
  ],
  [
    "a time server by name",
    { [`${NIC}.dhcpOptions.ntpServers[0]`]: "time" },
    `${NIC}.dhcpOptions.ntpServers[0] ${INVALID}`,
  ],
  [
    "a public DHCP option",
    { [`${NIC}.dhcpOptions.privateOptions[0]`]: { option: 66, value: "x" } },
    `${NIC}.dhcpOptions.privateOptions[0].option ${INVALID}`,
  ],
  [
    "a DHCP option twice",
    {
      [`${NIC}.dhcpOptions.privateOptions`]: [
        { option: 240, value: "x" },
        { option: 240, value: "y" },
      ],
    },
    `${NIC}.dhcpOptions.privateOptions[1].option ${DUPLICATE}`,
  ],
];

import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import type { Interface } from "../kubevirt/interfaces.ts";
import type { Network } from "../kubevirt/networks.ts";
import { exactlyOne, filled, inRange, PORTS, setOf, unique } from "./fields.ts";
import { checkCidr, checkForm, checkIPv4, checkMac } from "./names.ts";
import { type Report, shown } from "./report.ts";

/** Networks and the interfaces that join them: each has its counterpart of the same name. */
export function checkNetworks(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  const networks = spec.networks ?? [];
  const interfaces = spec.domain.devices.interfaces ?? [];
  const interfacePath = (index: number): string => `${at}.domain.devices.interfaces[${index}]`;
  const networkPath = (index: number): string => `${at}.networks[${index}]`;
  const byName = new Map(networks.map((network) => [network.name, network]));
  const joined = new Set(interfaces.map(({ name }) => name));

  unique(
    networks,
    ({ name }) => name,
    (index) => `${networkPath(index)}.name`,
    report,
  );
  unique(
    interfaces,
    ({ name }) => name,
    (index) => `${interfacePath(index)}.name`,
    report,
  );
  networks.forEach((network, index) => {
    checkNetwork(network, networkPath(index), report);
    if (!joined.has(network.name)) {
      const message = `is ${shown(network.name)}, but there is no interface of that name`;
      report.invalid(`${networkPath(index)}.name`, message);
    }
  });
  interfaces.forEach((each, index) => {
    const network = byName.get(each.name);
    if (network === undefined) {
      const message = `is ${shown(each.name)}, but there is no network of that name`;
      report.invalid(`${interfacePath(index)}.name`, message);
    }
    checkInterface(each, network, interfacePath(index), report);
  });
  checkDefaults(networks, at, report);
}

/** One network is the pod's own. */
function checkDefaults(networks: readonly Network[], at: string, report: Report): void {
  let first = true;
  networks.forEach(({ pod, multus }, index) => {
    if (pod === undefined && multus?.default !== true) return;
    const field = pod === undefined ? "multus.default" : "pod";
    if (!first)
      report.invalid(`${at}.networks[${index}].${field}`, "makes a second network the pod's own");
    first = false;
  });
}

function checkNetwork(network: Network, at: string, report: Report): void {
  filled(network.name, `${at}.name`, report);
  exactlyOne(network, ["pod", "multus", "resourceClaim"], at, report);
  const { pod, multus, resourceClaim } = network;
  checkCidr(4, pod?.vmNetworkCIDR, `${at}.pod.vmNetworkCIDR`, report);
  checkCidr(6, pod?.vmIPv6NetworkCIDR, `${at}.pod.vmIPv6NetworkCIDR`, report);
  if (multus !== undefined) filled(multus.networkName, `${at}.multus.networkName`, report);
  if (resourceClaim !== undefined) {
    filled(resourceClaim.claimName, `${at}.resourceClaim.claimName`, report);
    filled(resourceClaim.requestName, `${at}.resourceClaim.requestName`, report);
  }
}

const BINDINGS = ["bridge", "masquerade", "sriov", "passtBinding", "binding"] as const;
/** Bindings that KubeVirt had and has no more. */
const REMOVED = ["slirp", "macvtap", "passt"] as const;

function checkInterface(
  of: Interface,
  network: Network | undefined,
  at: string,
  report: Report,
): void {
  filled(of.name, `${at}.name`, report);
  checkForm("deviceName", of.name, `${at}.name`, report);
  const removed = setOf(of, REMOVED);
  for (const name of removed) {
    report.invalid(`${at}.${name}`, `is no binding any more: use one of ${BINDINGS.join(", ")}`);
  }
  if (removed.length === 0) exactlyOne(of, BINDINGS, at, report);
  if (network !== undefined) checkBinding(of, network, at, report);
  if (of.binding !== undefined) filled(of.binding.name, `${at}.binding.name`, report);
  checkMac(of.macAddress, `${at}.macAddress`, report);
  checkForm("pciAddress", of.pciAddress, `${at}.pciAddress`, report);
  inRange(of.acpiIndex, [0, 16_383], `${at}.acpiIndex`, report);
  checkPorts(of, at, report);
  checkDhcp(of, `${at}.dhcpOptions`, report);
}

function checkBinding(of: Interface, network: Network, at: string, report: Report): void {
  if (network.pod === undefined) {
    for (const name of ["masquerade", "passtBinding"] as const) {
      if (of[name] !== undefined) {
        report.invalid(`${at}.${name}`, "joins the pod's network only, which this is not");
      }
    }
  }
  if (of.sriov !== undefined && network.pod !== undefined) {
    report.invalid(`${at}.sriov`, "joins a network of multus only");
  }
  if (of.state === "absent" && (of.bridge === undefined || network.multus === undefined)) {
    report.invalid(`${at}.state`, "is absent, which an interface of bridge and multus may be only");
  }
}

function checkPorts({ ports = [], portRanges = [] }: Interface, at: string, report: Report): void {
  const pathOf = (index: number): string => `${at}.ports[${index}]`;
  unique(
    ports,
    ({ name }) => (name === "" ? undefined : name),
    (index) => `${pathOf(index)}.name`,
    report,
  );
  const keyOf = ({ port, protocol }: (typeof ports)[number]): string =>
    `${port}/${protocol ?? "TCP"}`;
  unique(ports, keyOf, pathOf, report);
  ports.forEach(({ name, port }, index) => {
    checkForm("portName", name, `${pathOf(index)}.name`, report);
    inRange(port, PORTS, `${pathOf(index)}.port`, report);
  });
  portRanges.forEach(({ start, end }, index) => {
    const field = `${at}.portRanges[${index}]`;
    inRange(start, PORTS, `${field}.start`, report);
    inRange(end, PORTS, `${field}.end`, report);
    if (start > end) report.invalid(`${field}.end`, "is less than start");
  });
}

/** Codes that RFC 2132 leaves to the site. */
const PRIVATE_OPTIONS = [224, 254] as const;

function checkDhcp({ dhcpOptions }: Interface, at: string, report: Report): void {
  const { ntpServers = [], privateOptions = [] } = dhcpOptions ?? {};
  ntpServers.forEach((server, index) => {
    checkIPv4(server, `${at}.ntpServers[${index}]`, report);
  });
  const pathOf = (index: number): string => `${at}.privateOptions[${index}]`;
  unique(
    privateOptions,
    ({ option }) => option,
    (index) => `${pathOf(index)}.option`,
    report,
  );
  privateOptions.forEach(({ option, value }, index) => {
    inRange(option, PRIVATE_OPTIONS, `${pathOf(index)}.option`, report);
    filled(value, `${pathOf(index)}.value`, report);
  });
}

import type { Interface, Network, VirtualMachineInstanceSpec } from "@trine/kube-types";
import { type Parts, defined, joined, refused } from "./parts.ts";

/** The machine's container: KubeVirt's name, which tools that read its logs know. */
export const COMPUTE = "compute";
const PRIMARY = "eth0";

/** An interface of the spec, and what the pod calls it. */
interface PodInterface {
  readonly name: string;
  readonly podInterface: string;
  readonly binding: Binding;
}

type Binding = "tap" | "masquerade" | "passt" | "macvtap";

/** The machine's interfaces in the order of the spec; those that are to be absent are left out. */
export function podInterfaces({
  domain,
  networks = [],
}: VirtualMachineInstanceSpec): PodInterface[] {
  const used = (domain.devices.interfaces ?? []).filter(({ state }) => state !== "absent");
  let next = 1;
  return used.flatMap((each) => {
    const network = networks.find(({ name }) => name === each.name);
    const binding = bindingOf(each);
    // A device plugin's function is passed through: no interface of the pod.
    if (network === undefined || binding === undefined) return [];
    const isPrimary = network.pod !== undefined || network.multus?.default === true;
    const podInterface = isPrimary ? PRIMARY : `net${next}`;
    if (!isPrimary) next += 1;
    return [{ name: each.name, podInterface, binding }];
  });
}

/** Undefined: none of the pod's interfaces stands behind it. */
function bindingOf({
  masquerade,
  passt,
  passtBinding,
  macvtap,
  binding,
  sriov,
}: Interface): Binding | undefined {
  if (sriov !== undefined) return undefined;
  if (masquerade !== undefined) return "masquerade";
  if (passt !== undefined || passtBinding !== undefined || binding?.name === "passt")
    return "passt";
  return macvtap !== undefined || binding?.name === "macvtap" ? "macvtap" : "tap";
}

/** Networks by Multus, and how the guest has each. */
export function networkParts(spec: VirtualMachineInstanceSpec, namespace: string): Parts {
  const { domain, networks = [] } = spec;
  const found = podInterfaces(spec);
  const bindings = found
    .filter(({ binding }) => binding !== "tap")
    .map(({ podInterface, binding }) => `${podInterface}=${binding}`);
  const ofInterface = new Map((domain.devices.interfaces ?? []).map((each) => [each.name, each]));
  return joined([
    ...refusals(spec),
    {
      annotations: {
        ...multus(found, networks, ofInterface, namespace),
        ...(bindings.length === 0 ? {} : { "trine.dev/network-binding": bindings.join(",") }),
        ...cards(found, ofInterface),
        ...interfaceSettings(found, networks, ofInterface),
      },
    },
    ...found.map(({ name, binding }) => portParts(ofInterface.get(name), binding)),
    passtPorts(found, ofInterface),
  ]);
}

type ByName = ReadonlyMap<string, Interface>;

/** Models of network cards beside virtio's that the node's machines can have. */
export const CARDS: readonly string[] = ["e1000e", "e1000", "rtl8139", "pcnet", "ne2k_pci"];

/** What the guest's cards are, and the MAC of the first. */
function cards(found: readonly PodInterface[], interfaces: ByName): Record<string, string> {
  const models = found.flatMap(({ name, podInterface }) => {
    const { model = "" } = interfaces.get(name) ?? {};
    return CARDS.includes(model) ? [[podInterface, model] as const] : [];
  });
  const primary = found.find(
    ({ podInterface, binding }) => podInterface === PRIMARY && binding !== "macvtap",
  );
  const mac = plainMac(interfaces.get(primary?.name ?? "")?.macAddress ?? "");
  return {
    ...(models.length === 0
      ? {}
      : { "trine.dev/network-models": JSON.stringify(Object.fromEntries(models)) }),
    ...(mac === "" ? {} : { "trine.dev/network-mac": mac }),
  };
}

/** What is said of single ones, where it is anything. Ports of others than masqueraded ones only tell of them. */
function interfaceSettings(
  found: readonly PodInterface[],
  networks: readonly Network[],
  interfaces: ByName,
): Record<string, string> {
  const said = found.flatMap(({ name, podInterface, binding }) => {
    const of = interfaces.get(name);
    const { vmNetworkCIDR, vmIPv6NetworkCIDR } =
      networks.find((each) => each.name === name)?.pod ?? {};
    const hidden = {
      ...filled({ ipv4: vmNetworkCIDR, ipv6: vmIPv6NetworkCIDR }),
      ...filled({ ports: portsOf(of).join(",") }),
    };
    const setting = {
      ...(binding === "masquerade" ? hidden : {}),
      ...(of?.state === "down" ? { link: "down" } : {}),
    };
    return Object.keys(setting).length === 0 ? [] : [[podInterface, setting] as const];
  });
  return said.length === 0
    ? {}
    : { "trine.dev/interfaces": JSON.stringify(Object.fromEntries(said)) };
}

function filled(fields: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const given = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [[name, value] as const],
  );
  return Object.fromEntries(given);
}

/** As an annotation lists them. */
function portsOf({
  ports = [],
  portRanges = [],
}: Pick<Interface, "ports" | "portRanges"> = {}): string[] {
  const all = [
    ...ports.map(({ port, protocol }) => ({ start: port, end: port, protocol })),
    ...portRanges,
  ];
  return all.map(({ start, end, protocol }) => {
    const span = start === end ? `${start}` : `${start}-${end}`;
    return `${span}${protocol === "UDP" ? "/udp" : ""}`;
  });
}

/** As the node wants it: users may write dashes and capitals. */
function plainMac(mac: string): string {
  return mac.toLowerCase().replaceAll("-", ":");
}

function multus(
  found: readonly PodInterface[],
  networks: readonly Network[],
  interfaces: ByName,
  namespace: string,
): Record<string, string> {
  const selections = found.flatMap(({ name, podInterface }) => {
    const network = networks.find((each) => each.name === name)?.multus;
    if (network === undefined || network.default === true) return [];
    const { macAddress } = interfaces.get(name) ?? {};
    return [
      {
        ...attachment(network.networkName, namespace),
        interface: podInterface,
        ...defined({ mac: macAddress }),
      },
    ];
  });
  const main = networks.find(({ multus: of }) => of?.default === true)?.multus;
  return {
    ...(selections.length === 0
      ? {}
      : { "k8s.v1.cni.cncf.io/networks": JSON.stringify(selections) }),
    ...(main === undefined
      ? {}
      : {
          "v1.multus-cni.io/default-network": Object.values(
            attachment(main.networkName, namespace),
          ).join("/"),
        }),
  };
}

/** `NAME` or `NAMESPACE/NAME`. */
function attachment(
  networkName: string,
  namespace: string,
): { readonly namespace: string; readonly name: string } {
  const [first = "", second] = networkName.split("/");
  return second === undefined ? { namespace, name: first } : { namespace: first, name: second };
}

/** What no pod of the level can be. */
function refusals({ domain }: VirtualMachineInstanceSpec): Parts[] {
  return (domain.devices.interfaces ?? []).flatMap((each, index) => {
    const at = `spec.domain.devices.interfaces[${index}]`;
    if (each.slirp !== undefined) {
      return [refused(`${at}.slirp`, "KubeVirt itself gave it up: use passtBinding or masquerade")];
    }
    const plugin = each.binding?.name;
    const isKnown = plugin === undefined || ["passt", "macvtap", "managedTap"].includes(plugin);
    return isKnown ? [] : [refused(`${at}.binding.name`, "passt and macvtap are there")];
  });
}

/** Told to those who read the pod; kubelet's named ports are found by them. */
function portParts(of: Interface | undefined, binding: Binding): Parts {
  if (binding === "macvtap") return {};
  const ports = (of?.ports ?? []).map(({ name, port, protocol }) => ({
    containerPort: port,
    protocol: protocol === "UDP" ? "UDP" : "TCP",
    ...(name === undefined || name === "" ? {} : { name }),
  }));
  return { ports };
}

/** passt listens at the ports that it is given, and at no other. */
function passtPorts(found: readonly PodInterface[], interfaces: ByName): Parts {
  const ports = found.flatMap(({ name, binding }) => {
    if (binding !== "passt") return [];
    const { ports: single = [], portRanges = [] } = interfaces.get(name) ?? {};
    const ranges = portRanges.flatMap(({ start, end, protocol }) =>
      Array.from({ length: Math.max(0, end - start + 1) }, (_, index) => ({
        port: start + index,
        protocol,
      })),
    );
    return [...single, ...ranges].map(
      ({ port, protocol }) => `${COMPUTE}=${port}${protocol === "UDP" ? "/udp" : ""}`,
    );
  });
  return ports.length === 0 ? {} : { annotations: { "trine.dev/ports": ports.join(",") } };
}

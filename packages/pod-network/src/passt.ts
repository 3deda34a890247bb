import type { DnsConfig } from "./resolv-conf.ts";
import { linkLocalOf } from "./guest-network.ts";
import type { PodInterface } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

/** It ends when it is given more. */
const MAX_SEARCH = 6;

/** Ports of the pod's address that are the guest's. */
export interface PasstPorts {
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
}

/**
 * Arguments of passt (2023 and later) for a guest that has the addresses of `pod`; its connection to the VMM is
 * descriptor `fd`. The program itself answers DHCP, DHCPv6 and router solicitations.
 */
export function passtArguments(
  pod: PodInterface,
  { dns, ports, fd }: { dns: DnsConfig; ports: PasstPorts; fd: number },
): string[] {
  const families = new Set(pod.addresses.map(({ family }) => family));
  const only = families.size === 2 ? [] : [families.has("ipv4") ? "--ipv4-only" : "--ipv6-only"];
  return [
    ...[
      "--foreground",
      "--quiet",
      "--stderr",
      "--fd",
      `${fd}`,
      "--interface",
      pod.name,
      "--mtu",
      `${pod.mtu}`,
    ],
    ...only,
    // Its gateway stays the gateway: what the namespace listens at on localhost is not for the guest.
    "--no-map-gw",
    ...familyArguments(pod, "ipv4"),
    ...familyArguments(pod, "ipv6"),
    ...listed(
      "--dns",
      dns.nameservers.filter((each) => families.has(familyOf(each))),
    ),
    ...listed("--search", dns.search.slice(0, MAX_SEARCH)),
    ...["--tcp-ports", portList(ports.tcp), "--udp-ports", portList(ports.udp)],
  ];
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}

function familyArguments(pod: PodInterface, family: "ipv4" | "ipv6"): string[] {
  const own = pod.addresses.find((each) => each.family === family);
  if (own === undefined) return [];
  const gateway = pod.routes.find(
    (route) => route.family === family && route.to.endsWith("/0") && route.via !== undefined,
  )?.via;
  return [
    ...["--address", own.address],
    ...(family === "ipv4" ? ["--netmask", `${own.prefix}`] : []),
    ...(gateway === undefined ? [] : ["--gateway", gateway]),
  ];
}

function listed(name: string, values: readonly string[]): string[] {
  return values.length === 0 ? [name, "none"] : values.flatMap((value) => [name, value]);
}

function portList(ports: readonly number[]): string {
  return ports.length === 0 ? "none" : ports.join(",");
}

/**
 * Lets passt of user `uid` take any port in the pod's namespace and call from it the world and, of the namespace itself,
 * only what listens for the guest at 169.254.77.1. Repeatable.
 */
export async function preparePasst(run: RunInPod, uid: number): Promise<void> {
  const doing = "prepare the namespace for passt";
  const settings = ["net/ipv4/ip_unprivileged_port_start=0"];
  await mustRun(run, doing, ["sysctl", "-eqw", ...settings], "");
  await mustRun(run, doing, ["ip", "-batch", "-"], `address replace ${linkLocalOf(0)}/32 dev lo\n`);
  await mustRun(run, doing, ["nft", "-f", "-"], passtRules(uid));
}

function passtRules(uid: number): string {
  return [
    "table inet trine_passt",
    "delete table inet trine_passt",
    "table inet trine_passt {",
    "  counter refused { }",
    "  chain output {",
    "    type filter hook output priority 0; policy accept;",
    `    meta skuid ${uid} oifname "lo" ct state new ip daddr != ${linkLocalOf(0)} counter name "refused" drop`,
    `    meta skuid ${uid} oifname "lo" ct state new meta nfproto ipv6 counter name "refused" drop`,
    "  }",
    "}",
    "",
  ].join("\n");
}

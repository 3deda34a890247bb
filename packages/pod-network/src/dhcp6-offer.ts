import { kindOf, pollUntil } from "@trine/base";
import type { PodInterface, PodRoute } from "./pod-interface.ts";
import type { DnsConfig } from "./resolv-conf.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

/** Where the guest has its router if the pod's gateway has no link-local address that is known. */
export const STAND_IN_ROUTER = "fe80::77:1";
const LINK_LOCAL = /^fe[89ab][0-9a-f]:/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
/** The kernel asks three times, a second apart, before it says that nobody answers. */
const ANSWER = { ms: 2_000, everyMs: 50 };

/** For the shim's ServeDhcp6, field for field; without the tap. */
export interface Dhcp6Offer {
  readonly clientMac: string;
  readonly address: string;
  readonly prefix: number;
  readonly router: string;
  readonly routerMac: string;
  readonly isDefault: boolean;
  readonly mtu: number;
  readonly dns: string[];
  readonly search: string[];
}

/**
 * What a guest that has `pod` is answered by DHCPv6; undefined for one without IPv6. `gatewayMac`: of its gateway, where
 * that has no link-local address; a guest whose gateway is not known is told of none.
 */
export function dhcp6Offer(
  pod: PodInterface,
  dns: DnsConfig,
  gatewayMac: string | undefined,
): Dhcp6Offer | undefined {
  const own = pod.addresses.find((a) => a.family === "ipv6");
  if (own === undefined) return undefined;
  const via = gatewayOf(pod)?.via ?? "";
  const isLinkLocal = LINK_LOCAL.test(via);
  return {
    clientMac: pod.mac,
    address: own.address,
    prefix: own.prefix,
    router: isLinkLocal ? via : STAND_IN_ROUTER,
    routerMac: isLinkLocal ? "" : (gatewayMac ?? ""),
    isDefault: isLinkLocal || gatewayMac !== undefined,
    mtu: pod.mtu,
    dns: dns.nameservers.filter((address) => address.includes(":")),
    search: [...dns.search],
  };
}

/**
 * The MAC of the interface's IPv6 gateway, which a guest is told of only by its link-local address; undefined where that
 * is its address, there is none or it does not answer within `ms`. Before `connectTaps`: the namespace cannot ask
 * afterwards. Kind `unavailable` where it cannot be asked for.
 */
export async function findGatewayMac(
  run: RunInPod,
  pod: PodInterface,
  ms = ANSWER.ms,
): Promise<string | undefined> {
  const via = gatewayOf(pod)?.via;
  if (via === undefined || LINK_LOCAL.test(via)) return undefined;
  const doing = `look for ${via} on ${pod.name}`;
  const of = [via, "dev", pod.name];
  await mustRun(run, doing, ["ip", "-6", "neigh", "replace", ...of, "use"], "");
  const look = async (): Promise<{ readonly mac?: string } | undefined> => {
    const shown = await mustRun(run, doing, ["ip", "-6", "-j", "neigh", "show", "to", ...of], "");
    return settled(shown);
  };
  try {
    return (await pollUntil(doing, { ...ANSWER, ms }, look)).mac;
  } catch (cause) {
    if (kindOf(cause) === "timeout") return undefined;
    throw cause;
  }
}

/** Undefined while the kernel still asks. `shown`: JSON of iproute2, nothing for no entry. */
function settled(shown: string): { readonly mac?: string } | undefined {
  const [found] = JSON.parse(shown || "[]") as { lladdr?: string; state?: string[] }[];
  if (found?.lladdr !== undefined && MAC.test(found.lladdr)) return { mac: found.lladdr };
  return found?.state?.includes("FAILED") === true ? {} : undefined;
}

function gatewayOf(pod: PodInterface): PodRoute | undefined {
  return pod.routes.find((route) => route.to === "::/0" && route.via !== undefined);
}

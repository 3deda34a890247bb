import type { PodInterface } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

/** An interface whose frames the kernel carries to the guest by a macvtap. */
export interface MacvtapLink {
  readonly interface: PodInterface;
  /** The namespace's own link to the guest. */
  readonly tap: string;
  readonly macvtap: string;
}

/**
 * Makes the guest's macvtap on the pod's interface, with that one's MAC, and the namespace's own link beside it: both are
 * ports of one switch in the kernel. The interface itself gets another MAC, for no two ports have one. Repeatable, also
 * after half of it. Kind `unavailable` where the kernel has no macvtap.
 */
export async function makeMacvtaps(run: RunInPod, links: readonly MacvtapLink[]): Promise<void> {
  if (links.length === 0) return;
  const doing = `make macvtaps on ${links.map((each) => each.interface.name).join(", ")}`;
  const shown = await mustRun(run, doing, ["ip", "-j", "link", "show"], "");
  const names = new Set((JSON.parse(shown) as { ifname: string }[]).map(({ ifname }) => ifname));
  const lines = links.flatMap((link) => commandsOf(link, names));
  await mustRun(run, doing, ["ip", "-batch", "-"], `${lines.join("\n")}\n`);
}

function commandsOf(
  { interface: pod, tap, macvtap }: MacvtapLink,
  names: ReadonlySet<string>,
): string[] {
  const mtu = `mtu ${pod.mtu}`;
  return [
    `link set dev ${pod.name} address ${otherMac(pod.mac)}`,
    // The namespace lists the pod's address there, and must not answer for it.
    `link set dev ${pod.name} arp off`,
    ...(names.has(macvtap)
      ? []
      : [
          `link add link ${pod.name} name ${macvtap} ${mtu} address ${pod.mac} type macvtap mode bridge`,
        ]),
    ...(names.has(tap)
      ? []
      : [`link add link ${pod.name} name ${tap} ${mtu} type macvlan mode bridge`]),
  ];
}

/** A locally administered one that is not the guest's. */
function otherMac(mac: string): string {
  const [first = "00", ...rest] = mac.split(":");
  const changed = (Number.parseInt(first, 16) ^ 0x40) | 0x02;
  return [changed.toString(16).padStart(2, "0"), ...rest].join(":");
}

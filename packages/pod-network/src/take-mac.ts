import type { PodInterface } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

/**
 * Gives the pod's interface another MAC while it is up, and tells who is beside it: what the network plugin asked there
 * before is answered anew. Repeatable. Nothing undoes it: it goes with the namespace.
 */
export async function takeMac(run: RunInPod, pod: PodInterface, mac: string): Promise<void> {
  const doing = `give ${pod.name} the MAC ${mac}`;
  const settings = [
    `net/ipv4/conf/${pod.name}/arp_notify=1`,
    `net/ipv6/conf/${pod.name}/ndisc_notify=1`,
  ];
  await mustRun(run, doing, ["sysctl", "-eqw", ...settings], "");
  await mustRun(run, doing, ["ip", "link", "set", "dev", pod.name, "address", mac], "");
}

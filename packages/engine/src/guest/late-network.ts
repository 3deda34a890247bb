import type { AgentClient } from "@trine/guest-link";
import type { PodInterface } from "@trine/pod-network";
import type { PodContext } from "../pod-context.ts";
import { interfacesOf } from "../pod-document.ts";
import { takeNetwork } from "../sandbox-network.ts";
import { tapOf } from "../tap.ts";
import { networkOf } from "./revive-request.ts";
import { NOBODYS_NETWORK } from "./spare-identity.ts";

/** dockerd's namespace of containerd. */
const DOCKER = "moby";

/**
 * dockerd plugs a container's network into the namespace behind the task's process id, between Create and Start.
 * By then the guest runs: it has a card that leads nowhere until its container starts.
 */
function comesLate({ identity, facts, sandbox }: PodContext): boolean {
  return !sandbox.isPodSandbox && facts.netns === "" && identity.namespace === DOCKER;
}

/** What the guest's machine is made with. */
export function plannedInterfaces(pod: PodContext): readonly PodInterface[] {
  return comesLate(pod) ? [NOBODYS_NETWORK] : interfacesOf(pod.document);
}

/** The tap of a card whose network is still to come. Repeatable. */
export async function openLateTap(pod: PodContext): Promise<void> {
  if (comesLate(pod)) await pod.shim.openTap(tapOf(0), NOBODYS_NETWORK.mtu);
}

/** Gives a guest that runs the network that has come meanwhile, if one has. Repeatable. */
export async function joinLateNetwork(
  pod: PodContext,
  agent: Pick<AgentClient, "setNetwork">,
): Promise<void> {
  if (!comesLate(pod)) return;
  await takeNetwork(pod, "agent", [tapOf(0)]);
  const [first, ...others] = interfacesOf(pod.document);
  if (others.length > 0) {
    pod.log.warn({ left: others.map(({ name }) => name) }, "the guest has one network card");
  }
  if (first !== undefined) await agent.setNetwork(networkOf([first]));
}

import { randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { guestNetwork } from "@trine/pod-network";
import type { PodInterface } from "@trine/pod-network";
import type { ReviveRequestSchema } from "@trine/proto/agent";
import type { PodContext } from "../pod-context.ts";
import { interfacesOf } from "../pod-document.ts";
import { uuidOf } from "../pod-identity.ts";
import { guestHostname } from "./guest-hostname.ts";
import { podSysctls } from "./pod-sysctls.ts";

const ENTROPY_BYTES = 64;

/** What makes a guest this pod's: names, clock, randomness and the addresses CNI gave. */
export function reviveRequest(
  pod: PodContext,
  interfaces: readonly PodInterface[] = interfacesOf(pod.document),
): MessageInitShape<typeof ReviveRequestSchema> {
  const { identity, sandbox, document, deps } = pod;
  return {
    pod: pod.key,
    // A spare's: another pod's name follows.
    provisional: document.guest === undefined,
    entropy: randomBytes(ENTROPY_BYTES),
    time: timestampFromDate(deps.now()),
    hostname: guestHostname(sandbox, identity.name),
    machineId: uuidOf(identity.namespace, identity.uid, identity.sandboxId).replaceAll("-", ""),
    sysctls: podSysctls(sandbox),
    ...networkOf(interfaces),
  };
}

/** Interfaces and routes, as the agent wants them. */
export function networkOf(
  pod: readonly PodInterface[],
): Pick<MessageInitShape<typeof ReviveRequestSchema>, "interfaces" | "routes"> {
  // The containers' resolv.conf is a file of theirs: the guest itself resolves nothing.
  const { interfaces } = guestNetwork(pod, { nameservers: [], search: [] });
  return {
    interfaces: interfaces.map(({ name, mac, mtu, addresses }, index) => ({
      name,
      index,
      mac,
      mtu,
      addresses: [...addresses],
    })),
    routes: interfaces.flatMap(({ name, routes }) =>
      routes.map(({ to, via, metric }) => ({
        destination: to,
        gateway: via ?? "",
        interface: name,
        metric: metric ?? 0,
      })),
    ),
  };
}

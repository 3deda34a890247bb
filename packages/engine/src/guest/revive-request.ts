import { randomBytes } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { guestNetwork } from "@trine/pod-network";
import type { ReviveRequestSchema } from "@trine/proto/agent";
import type { PodContext } from "../pod-context.ts";
import { uuidOf } from "../pod-identity.ts";
import { guestHostname } from "./guest-hostname.ts";
import { podSysctls } from "./pod-sysctls.ts";

const ENTROPY_BYTES = 64;

/** What makes a guest this pod's: names, clock, randomness and the addresses CNI gave. */
export function reviveRequest(pod: PodContext): MessageInitShape<typeof ReviveRequestSchema> {
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
    ...(document.network === undefined ? {} : networkOf(document.network)),
  };
}

function networkOf(
  network: NonNullable<PodContext["document"]["network"]>,
): Pick<MessageInitShape<typeof ReviveRequestSchema>, "interfaces" | "routes"> {
  // The containers' resolv.conf is a file of theirs: the guest itself resolves nothing.
  const { interfaces } = guestNetwork(network, { nameservers: [], search: [] }).cloudInit;
  return {
    interfaces: interfaces.map(({ mac, mtu, addresses }, index) => ({
      name: network.name,
      index,
      mac,
      mtu,
      addresses: [...addresses],
    })),
    routes: interfaces.flatMap(({ routes }) =>
      routes.map(({ to, via }) => ({
        destination: to,
        gateway: via ?? "",
        interface: network.name,
      })),
    ),
  };
}

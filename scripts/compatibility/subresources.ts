import { admits, answers, onApi, onDoor, relays } from "./proof.ts";
import type { Proof, State } from "./proof.ts";

/** A path of the aggregated API as `packages/virt-api` lists it; `refused` in KubeVirt's words. */
export interface SubresourceRow {
  readonly names: readonly string[];
  readonly state: Exclude<State, "inert">;
  readonly note?: string;
  readonly proofs: readonly Proof[];
}

const VM = "virtualmachines";
const VMI = "virtualmachineinstances";
const REFUSED = onApi("verbs that are not served are refused in KubeVirt's words");
const REACH = onApi("virtctl's commands about a machine that runs reach its node");
const STREAMS = onDoor(
  "console, display and ports go through the door, and what the guest says of itself",
);
const TABLE = answers("%s: %s");

function works(names: readonly string[], proofs: readonly Proof[], note = ""): SubresourceRow {
  return { names, state: "works", proofs, ...(note !== "" && { note }) };
}

function refused(
  names: readonly string[],
  note: string,
  ...proofs: readonly Proof[]
): SubresourceRow {
  return { names, state: "refused", note, proofs: [TABLE, ...proofs] };
}

export const SUBRESOURCES: readonly SubresourceRow[] = [
  works(
    [`${VM}/start`, `${VM}/stop`],
    [
      answers("%s of %j makes it %j"),
      answers("%s of %s, instance %s: asks its controller"),
      onApi("virtctl start and stop turn the strategy, for who may"),
    ],
  ),
  works(
    [`${VM}/restart`],
    [answers("a forced stop and a forced restart leave the guest little time"), REFUSED],
  ),
  works(["expand-vm-spec", `${VM}/expand-spec`], [REFUSED]),
  works(
    [`${VMI}/pause`, `${VMI}/unpause`, `${VMI}/softreboot`, `${VMI}/reset`],
    [REACH, answers("%s")],
  ),
  works([`${VMI}/freeze`, `${VMI}/unfreeze`], [answers("%s")]),
  works(
    [`${VMI}/guestosinfo`, `${VMI}/userlist`, `${VMI}/filesystemlist`],
    [REACH, answers("guests' words are KubeVirt's types")],
  ),
  works([`${VMI}/vnc/screenshot`], [REACH], "moveCursor is not acted on"),
  works(
    [`${VMI}/console`],
    [onApi("a console carries bytes both ways and ends in order"), STREAMS],
  ),
  works(
    [`${VMI}/vnc`],
    [relays("bytes go both ways as binary frames, under the sub-protocol"), STREAMS],
  ),
  works(
    [`${VM}/portforward`, `${VMI}/portforward`],
    [
      onApi("a megabyte goes through a port and comes back"),
      onApi("datagrams keep their borders"),
      STREAMS,
    ],
  ),
  works(
    [`${VM}/evacuate/cancel`, `${VMI}/evacuate/cancel`],
    [answers("an evacuation is cancelled for the node that is meant")],
  ),
  works(
    [`${VM}/migrate`],
    [answers("a migration is a wish under a name of its own"), admits("of %s is refused")],
    "the migration itself is refused: no machine is live-migratable yet",
  ),
  refused(
    [
      `${VM}/addvolume`,
      `${VM}/removevolume`,
      `${VMI}/addvolume`,
      `${VMI}/removevolume`,
      `${VM}/memorydump`,
    ],
    "400: the feature gate of hot plug is off",
    REFUSED,
  ),
  refused([`${VM}/removememorydump`], "409: there is no association"),
  refused([`${VM}/objectgraph`, `${VMI}/objectgraph`], "400: the feature gate is off", REFUSED),
  refused([`${VMI}/backup`, `${VMI}/redefine-checkpoint`], "409: changes are not tracked"),
  refused([`${VMI}/usbredir`], "409: no machine has slots for a client's devices"),
  refused([`${VMI}/vsock`], "400: it is not attached"),
  refused(
    [
      `${VMI}/sev/fetchcertchain`,
      `${VMI}/sev/querylaunchmeasurement`,
      `${VMI}/sev/setupsession`,
      `${VMI}/sev/injectlaunchsecret`,
    ],
    "400: the feature gate is off",
  ),
];

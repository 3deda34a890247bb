import { messageOf } from "@trine/base";
import type { MachineRef, NodeDoor } from "@trine/node-door";
import { type Answer, json, text } from "../http/answer.ts";
import { Refusal, conflict } from "../refusals/refusal.ts";
import { atNode, nodeFailure } from "./at-node.ts";
import type { Handle } from "./call.ts";
import { aboutInstance, getInstance, hasCondition } from "./objects.ts";
import { requireDisplay } from "./display.ts";

type Ask = (door: NodeDoor, ref: MachineRef, signal: AbortSignal) => Promise<object>;

const GUEST = { apiVersion: "kubevirt.io/v1" };

/** Asks the guest's agent. A refusal by state is 500 in plain text: so KubeVirt has it, and its clients know it so. */
function askGuest(kind: string, ask: Ask): Handle {
  return async (deps, { target, signal }) => {
    const instance = await getInstance(deps, target, signal);
    const about = aboutInstance(target.name);
    if (instance.status?.phase !== "Running") return plainly(conflict(about, "VMI is not running"));
    if (!hasCondition(instance, "AgentConnected")) {
      return plainly(conflict(about, "VMI does not have guest agent connected"));
    }
    try {
      const { door, ref } = await atNode(deps, instance, signal);
      return json({ ...GUEST, kind, ...(await ask(door, ref, signal)) });
    } catch (cause) {
      return plainly(nodeFailure(target.name, cause));
    }
  };
}

export const guestOsInfo = askGuest("VirtualMachineInstanceGuestAgentInfo", (door, ref, signal) =>
  door.guestOsInfo(ref, signal),
);

export const userList = askGuest(
  "VirtualMachineInstanceGuestOSUserList",
  async (door, ref, at) => ({
    metadata: {},
    ...(await door.userList(ref, at)),
  }),
);

export const filesystemList = askGuest(
  "VirtualMachineInstanceFileSystemList",
  async (door, ref, at) => ({
    metadata: {},
    ...(await door.filesystemList(ref, at)),
  }),
);

/** What the guest's screen shows, as PNG. */
export const screenshot: Handle = async (deps, { target, signal }) => {
  const instance = await getInstance(deps, target, signal);
  try {
    requireDisplay(instance);
    const { door, ref } = await atNode(deps, instance, signal);
    return { code: 200, type: "image/png", body: await door.screenshot(ref, signal) };
  } catch (cause) {
    return plainly(cause instanceof Refusal ? cause : nodeFailure(target.name, cause));
  }
};

function plainly(why: Error): Answer {
  return text(messageOf(why), 500);
}

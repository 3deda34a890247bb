import type { Owner } from "../http/target.ts";
import type { Handle } from "./call.ts";
import { evacuateCancel } from "./evacuate-cancel.ts";
import { expandSpec } from "./expand.ts";
import { filesystemList, guestOsInfo, screenshot, userList } from "./guest-info.ts";
import { freeze, pause, reset, softReboot, unfreeze, unpause } from "./machine-verbs.ts";
import { migrate } from "./migrate.ts";
import * as notHere from "./not-here.ts";
import { restart } from "./restart.ts";
import { start } from "./start.ts";
import { stop } from "./stop.ts";

/** A subresource that is answered at once. */
export interface Row {
  readonly of: Owner;
  /** As in the path and in RBAC. */
  readonly name: string;
  readonly method: "GET" | "PUT";
  readonly handle: Handle;
}

const VM = "virtualmachines";
const VMI = "virtualmachineinstances";

function row(of: Owner, method: Row["method"], name: string, handle: Handle): Row {
  return { of, method, name, handle };
}

export const ROWS: readonly Row[] = [
  row(VM, "PUT", "start", start),
  row(VM, "PUT", "stop", stop),
  row(VM, "PUT", "restart", restart),
  row(VM, "PUT", "migrate", migrate),
  row(VM, "PUT", "addvolume", notHere.addVolume),
  row(VM, "PUT", "removevolume", notHere.removeVolume),
  row(VM, "PUT", "memorydump", notHere.memoryDump),
  row(VM, "PUT", "removememorydump", notHere.removeMemoryDump),
  row(VM, "GET", "expand-spec", expandSpec),
  row(VM, "GET", "objectgraph", notHere.objectGraph),
  row(VM, "PUT", "evacuate/cancel", evacuateCancel),
  row(VMI, "PUT", "pause", pause),
  row(VMI, "PUT", "unpause", unpause),
  row(VMI, "PUT", "freeze", freeze),
  row(VMI, "PUT", "unfreeze", unfreeze),
  row(VMI, "PUT", "reset", reset),
  row(VMI, "PUT", "softreboot", softReboot),
  row(VMI, "PUT", "addvolume", notHere.addVolume),
  row(VMI, "PUT", "removevolume", notHere.removeVolume),
  row(VMI, "PUT", "backup", notHere.backup),
  row(VMI, "PUT", "redefine-checkpoint", notHere.redefineCheckpoint),
  row(VMI, "PUT", "evacuate/cancel", evacuateCancel),
  row(VMI, "GET", "guestosinfo", guestOsInfo),
  row(VMI, "GET", "userlist", userList),
  row(VMI, "GET", "filesystemlist", filesystemList),
  row(VMI, "GET", "objectgraph", notHere.objectGraph),
  row(VMI, "GET", "vnc/screenshot", screenshot),
  row(VMI, "GET", "sev/fetchcertchain", notHere.sev),
  row(VMI, "GET", "sev/querylaunchmeasurement", notHere.sev),
  row(VMI, "PUT", "sev/setupsession", notHere.sev),
  row(VMI, "PUT", "sev/injectlaunchsecret", notHere.sev),
  row(VMI, "GET", "usbredir", notHere.usbRedirection),
  row(VMI, "GET", "vsock", notHere.vsock),
];

import { onApi, onVirtctl, onVolumes } from "./proof.ts";
import type { Proof } from "./proof.ts";

/** A command of virtctl 1.9, and what its requests meet here. */
export interface Command {
  readonly command: string;
  /** `no request`: it only writes a manifest or speaks to itself. */
  readonly state: "works" | "refused" | "no request" | "not here";
  readonly note?: string;
  /** Methods of testkit's client that send what it sends. */
  readonly sentBy: readonly string[];
  readonly proofs: readonly Proof[];
}

const REACH = onApi("virtctl's commands about a machine that runs reach its node");
const REFUSED = onApi("verbs that are not served are refused in KubeVirt's words");
const TURNS = onApi("virtctl start and stop turn the strategy, for who may");

function command(
  name: string,
  state: Command["state"],
  sentBy: readonly string[],
  proofs: readonly Proof[],
  note = "",
): Command {
  return { command: name, state, sentBy, proofs, ...(note !== "" && { note }) };
}

export const VIRTCTL: readonly Command[] = [
  command("start, stop", "works", ["start", "stop"], [TURNS]),
  command("restart", "works", ["restart"], [REFUSED]),
  command("pause, unpause", "works", ["pauseVm"], [REACH]),
  command("soft-reboot, reset", "works", ["softReboot", "reset"], [REACH]),
  command("guestosinfo, userlist, fslist", "works", ["guest"], [REACH]),
  command(
    "console",
    "works",
    ["console"],
    [
      onApi("a console carries bytes both ways and ends in order"),
      onApi("virtctl console waits for a machine that does not run yet"),
    ],
  ),
  command("vnc", "works", ["vnc"], [onApi("who has no right reaches nothing, verb by verb")]),
  command("vnc screenshot", "works", ["screenshot"], [REACH]),
  command(
    "port-forward, ssh, scp",
    "works",
    ["portForward"],
    [onApi("a megabyte goes through a port and comes back"), onApi("datagrams keep their borders")],
  ),
  command("expand", "works", ["expandVm", "expandFile"], [REFUSED]),
  command(
    "version, guestfs (which image)",
    "works",
    ["info"],
    [onApi("virtctl version and guestfs ask the preferred version")],
  ),
  command(
    "migrate",
    "refused",
    ["migrate"],
    [REFUSED],
    "404 or 409; the migration itself: not live-migratable",
  ),
  command(
    "evacuate-cancel",
    "works",
    ["evacuateCancel"],
    [onVirtctl("evacuate-cancel takes back what an eviction has asked for")],
  ),
  command(
    "migrate-cancel",
    "works",
    ["migrateCancel"],
    [onVirtctl("migrate-cancel deletes the migration that has not ended")],
  ),
  command(
    "expose",
    "works",
    ["expose"],
    [onVirtctl("expose makes a Service that selects the machine's pod and goes with the machine")],
  ),
  command(
    "credentials add-ssh-key",
    "works",
    ["addSshKey"],
    [onVirtctl("credentials add-ssh-key writes a Secret and the machine")],
    "the objects are written; whether a guest gets the key: see accessCredentials",
  ),
  command(
    "permitted-devices, adm log-verbosity",
    "works",
    ["permittedDevices", "logVerbosity"],
    [onVirtctl("permitted-devices and adm log-verbosity find the one KubeVirt object")],
  ),
  command(
    "addvolume, removevolume, memory-dump, usbredir",
    "refused",
    ["addVolume", "removeVolume", "memoryDump", "removeMemoryDump", "usbRedirection"],
    [
      onVirtctl(
        "hot plug and memory dumps are refused in KubeVirt's words, for a machine and for an instance",
      ),
    ],
  ),
  command(
    "vmexport",
    "refused",
    ["vmExport"],
    [onVirtctl("vmexport's object is kept, with a warning, and nothing comes of it")],
    "its object is kept; no link comes",
  ),
  command(
    "image-upload dv, pvc",
    "works",
    ["prepare", "token", "path", "finished"],
    [
      onVolumes(
        "virtctl image-upload dv: what is no upload leaves the claim clean, and the next one fills it",
      ),
      onVolumes("virtctl image-upload pvc, and the form of a web console"),
    ],
    "`--archive` is refused",
  ),
  command("guestfs, template", "not here", [], [], "guestfs' pod asks for devices.kubevirt.io/kvm"),
  command("objectgraph", "refused", ["objectGraph"], [REFUSED]),
  command("create vm, instancetype, preference, clone; completion", "no request", [], []),
];

import { shown } from "./annotation-problem.ts";
import type { AnnotationProblem } from "./annotation-problem.ts";
import { hardwareContradictions } from "./hardware-contradictions.ts";
import type { MachineSettings } from "./machine-annotations.ts";

/** What each annotation may say, but not beside another. */
export function contradictions(settings: MachineSettings): AnnotationProblem[] {
  const { machine, disks, ports, rootSizeBytes, shares, agent } = settings;
  const found: AnnotationProblem[] = [];
  const size = disks.find(({ name }) => name === "root")?.sizeBytes;
  if (size !== undefined && rootSizeBytes !== undefined && size !== rootSizeBytes) {
    const why = "says another size of the root than trine.dev/root-size: keep one";
    found.push({ key: "trine.dev/disks", value: String(size), why });
  }
  if (
    settings.root === "none" &&
    (rootSizeBytes !== undefined || disks.some(({ name }) => name === "root"))
  ) {
    const why = "and something else says what the root is: remove one";
    found.push({ key: "trine.dev/root", value: shown("none"), why });
  }
  if (machine === undefined && ports.length > 0) {
    const value = shown(ports.map(({ container, port }) => `${container}=${port}`).join(","));
    const why = "needs trine.dev/machine, to tell the machine's ports from the containers'";
    found.push({ key: "trine.dev/ports", value, why });
  }
  if (shares === "9p" && !agent) {
    const why = "is what Trine's agent mounts in the guest: trine.dev/agent has to be on";
    found.push({ key: "trine.dev/shares", value: shown(shares), why });
  }
  const { shareTags } = settings;
  if (shares !== "virtiofs" && Object.keys(shareTags).length > 0) {
    const why = `is of virtiofs, and trine.dev/shares says ${shares}`;
    found.push({ key: "trine.dev/share-tags", value: shown(JSON.stringify(shareTags)), why });
  }
  for (const [name, given] of [
    ["initrd", settings.initrdPath],
    ["kernel-args", settings.kernelArgs],
  ] as const) {
    if (given === undefined || settings.kernelPath !== undefined) continue;
    const why = "is of a kernel, and there is no trine.dev/kernel";
    found.push({ key: `trine.dev/${name}`, value: shown(given), why });
  }
  const { userKeysFrom, passwordsFrom, guestAgent } = settings;
  for (const [key, given] of [
    ["trine.dev/user-keys-from", userKeysFrom],
    ["trine.dev/passwords-from", passwordsFrom],
  ] as const) {
    if (given === undefined || guestAgent) continue;
    const why = "reaches no guest where trine.dev/guest-agent is off: remove one";
    found.push({ key, value: "(given)", why });
  }
  const { networkMac, networkBindings } = settings;
  const bindingOf = (name: string) => networkBindings[name] ?? networkBindings["*"] ?? "tap";
  if (networkMac !== undefined && bindingOf("eth0") === "macvtap") {
    const why =
      "is not for macvtap, which has the pod's: trine.dev/network-binding says so of eth0";
    found.push({ key: "trine.dev/network-mac", value: networkMac, why });
  }
  for (const [name, { ipv4, ipv6, ports: own }] of Object.entries(settings.interfaces)) {
    const said = ipv4 ?? ipv6 ?? (own && "ports");
    if (said === undefined || bindingOf(name) === "masquerade") continue;
    const why = `is of a masqueraded interface, and ${name} is bound as ${bindingOf(name)}`;
    found.push({ key: "trine.dev/interfaces", value: shown(said), why });
  }
  const fixed = disks.find(
    ({ bus, readOnly, cdrom, source }) =>
      bus === undefined && readOnly && !cdrom && source.kind !== "files",
  );
  if (settings.diskBus === "sata" && fixed !== undefined) {
    const why =
      "is read-only, and one on sata (trine.dev/disk-bus) is always written: give it a bus";
    found.push({ key: "trine.dev/disks", value: shown(fixed.name), why });
  }
  const alone = disks.find(({ bus, ownThread }) => bus === undefined && ownThread === true);
  if (settings.diskBus === "sata" && alone !== undefined) {
    const why = "has ownThread, which is for bus virtio or scsi (trine.dev/disk-bus says sata)";
    found.push({ key: "trine.dev/disks", value: shown(alone.name), why });
  }
  return [...found, ...ofTheSeed(settings), ...hardwareContradictions(settings)];
}

/** Settings that only a seed disk brings to the guest. */
const SEED_ONLY = {
  userData: "trine.dev/user-data",
  userDataFrom: "trine.dev/user-data-from",
  metaData: "trine.dev/meta-data",
  sshKeysFrom: "trine.dev/ssh-keys-from",
  filesFrom: "trine.dev/files-from",
  networkData: "trine.dev/network-data",
  networkDataFrom: "trine.dev/network-data-from",
} as const;

function ofTheSeed(settings: MachineSettings): AnnotationProblem[] {
  const { cloudInit, userDataFrom, networkConfig, sshKeys, agent } = settings;
  const found: AnnotationProblem[] = [];
  const refuse = (when: boolean, key: string, value: string, why: string): void => {
    if (when) found.push({ key, value, why });
  };
  if (cloudInit === "off") {
    const lost = "reaches no guest where trine.dev/cloud-init is off: remove one";
    for (const [setting, key] of Object.entries(SEED_ONLY)) {
      refuse(settings[setting as keyof typeof SEED_ONLY] !== undefined, key, "(given)", lost);
    }
    refuse(sshKeys.length > 0, "trine.dev/ssh-keys", `(${sshKeys.length} keys)`, lost);
    refuse(agent, "trine.dev/agent", "on", lost);
  }
  const alone = "says how to read trine.dev/user-data-from, which is not there";
  const { userDataKey = "", userDataEncoding } = settings;
  const hasNone = userDataFrom === undefined;
  refuse(hasNone && userDataKey !== "", "trine.dev/user-data-key", shown(userDataKey), alone);
  const isEncoded = userDataEncoding === "base64";
  refuse(hasNone && isEncoded, "trine.dev/user-data-encoding", shown(userDataEncoding), alone);
  const isNoClouds = networkConfig === "v1" || networkConfig === "v2";
  const why = "is of NoCloud, and trine.dev/cloud-init says configdrive";
  const isDrive = cloudInit === "configdrive";
  refuse(isNoClouds && isDrive, "trine.dev/network-config", shown(networkConfig), why);
  const { networkData, networkDataFrom, ignition, ignitionFrom } = settings;
  const isTwice = networkData !== undefined && networkDataFrom !== undefined;
  refuse(isTwice, "trine.dev/network-data", "(given)", twice("trine.dev/network-data-from"));
  const isTold = ignition !== undefined && ignitionFrom !== undefined;
  refuse(isTold, "trine.dev/ignition", "(given)", twice("trine.dev/ignition-from"));
  return found;
}

function twice(other: string): string {
  return `is given by ${other} as well: keep one`;
}

import { shown } from "./annotation-problem.ts";
import type { AnnotationProblem } from "./annotation-problem.ts";
import { hypervFeatures, hypervNeeds } from "./hyperv-needs.ts";
import type { MachineSettings } from "./machine-annotations.ts";

type Refuse = (when: boolean, name: string, value: unknown, why: string) => void;

/** What each annotation of the hardware may say, but not beside another. */
export function hardwareContradictions(settings: MachineSettings): AnnotationProblem[] {
  const found: AnnotationProblem[] = [];
  const refuse: Refuse = (when, name, value, why) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    if (when) found.push({ key: `trine.dev/${name}`, value: shown(text), why });
  };
  ofTheCpus(settings, refuse);
  ofTheMemory(settings, refuse);
  ofTheFirmware(settings, refuse);
  ofTheDevices(settings, refuse);
  ofTheClock(settings, refuse);
  return found;
}

function ofTheCpus(settings: MachineSettings, refuse: Refuse): void {
  const { cpus, maxCpus, topology, cpuPinning } = settings;
  const { sockets = 1, cores = 1, threads = 1 } = topology ?? {};
  const has = topology === undefined ? (cpus ?? 1) : sockets * cores * threads;
  refuse(has > 255, "cpu-topology", topology, `comes to ${has} CPUs: at most 255`);
  const differs = topology !== undefined && cpus !== undefined && cpus !== has;
  refuse(
    differs,
    "cpu-topology",
    topology,
    `comes to ${has} CPUs, and trine.dev/cpus says ${cpus ?? 0}`,
  );
  const most = maxCpus ?? has;
  refuse(most < has, "max-cpus", most, `is less than the ${has} that the machine begins with`);
  const isWhole = topology === undefined || most % (cores * threads) === 0;
  refuse(!isWhole, "max-cpus", most, `is no whole number of sockets of ${cores * threads} CPUs`);
  const grows = maxCpus !== undefined && maxCpus > has;
  refuse(
    grows && cpuPinning !== "off",
    "cpu-pinning",
    cpuPinning,
    "gives no CPU to what trine.dev/max-cpus adds",
  );
}

function ofTheMemory(settings: MachineSettings, refuse: Refuse): void {
  const { memoryBytes, maxMemoryBytes, hugepages } = settings;
  const isLess = maxMemoryBytes !== undefined && maxMemoryBytes < (memoryBytes ?? 0);
  refuse(isLess, "max-memory", maxMemoryBytes, "is less than trine.dev/memory");
  const both = hugepages !== undefined && maxMemoryBytes !== undefined;
  refuse(
    both,
    "max-memory",
    maxMemoryBytes,
    "is not for a guest in trine.dev/hugepages: all of them are taken at the start",
  );
}

function ofTheFirmware(settings: MachineSettings, refuse: Refuse): void {
  const { firmware, secureBoot, firmwarePersistent, firmwareSerial, tpm, statePath } = settings;
  const isUefi = firmware === "uefi";
  const smm = settings.platform?.smm ?? true;
  refuse(secureBoot && !smm, "secure-boot", "on", "needs trine.dev/platform not to say smm: off");
  refuse(secureBoot && !isUefi, "secure-boot", "on", "needs trine.dev/firmware: uefi");
  refuse(
    firmwarePersistent && !isUefi,
    "firmware-persistent",
    "on",
    "needs trine.dev/firmware: uefi",
  );
  refuse(
    firmwareSerial && isUefi,
    "firmware-serial",
    "on",
    "is of the BIOS: UEFI speaks there by itself",
  );
  const needs = "needs trine.dev/state, a directory to keep it in";
  refuse(firmwarePersistent && statePath === undefined, "firmware-persistent", "on", needs);
  refuse(tpm === "persistent" && statePath === undefined, "tpm", tpm, needs);
  const keeps = firmwarePersistent || tpm === "persistent";
  const nothing =
    "has nothing to keep: trine.dev/firmware-persistent and trine.dev/tpm say what there is";
  refuse(statePath !== undefined && !keeps, "state", statePath ?? "", nothing);
}

function ofTheDevices(settings: MachineSettings, refuse: Refuse): void {
  const { display, video, vsock, vsockCid, firmwareSerial, console } = settings;
  refuse(video !== undefined && !display, "video", video ?? "", "needs trine.dev/display: on");
  refuse(vsockCid !== undefined && !vsock, "vsock-cid", vsockCid ?? 0, "needs trine.dev/vsock: on");
  const isLost = firmwareSerial && console !== "serial";
  refuse(isLost, "firmware-serial", "on", "needs trine.dev/console: serial");
}

function ofTheClock(settings: MachineSettings, refuse: Refuse): void {
  const { clock, hyperv } = settings;
  const { timezone, pit, pitPresent } = clock ?? {};
  const late = pit !== undefined && pitPresent === false;
  refuse(late, "clock", pit ?? "", "is of a timer that pitPresent: off leaves out");
  const isKnown = timezone === undefined || isTimezone(timezone);
  refuse(!isKnown, "clock", timezone ?? "", "is no time zone that this node knows");
  if (hyperv === undefined) return;
  const said: Readonly<Record<string, unknown>> = { ...hyperv, hypervclock: clock?.hypervclock };
  const off = hypervNeeds(hypervFeatures(hyperv)).filter((name) => said[name] === false);
  refuse(off.length > 0, "hyperv", hyperv, `needs ${off.join(" and ")}, which is off`);
}

function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

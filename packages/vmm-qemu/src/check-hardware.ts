import { isAbsolute } from "node:path";
import { bootOf } from "@trine/vmm";
import type { HardwareSpec, MachineSpec } from "@trine/vmm";
import { HYPERV_PROPERTIES } from "./plan-cpu.ts";
import { MAX_PASSTHROUGH } from "./plan-passthrough.ts";

type Say = (ok: boolean, what: string) => void;

const BOARD = /^(q35|pc-q35-\d{1,2}\.\d{1,2})$/;
const FEATURE = /^[a-z0-9][a-z0-9._-]{0,31}$/;
const PRINTABLE = /^[\x20-\x7e]{1,64}$/;
const SMBIOS = {
  system: ["manufacturer", "product", "version", "serial", "sku", "family"],
  chassis: ["manufacturer", "version", "serial", "asset", "sku"],
} as const;
const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
const PAGES = [2 * 1024 ** 2, 1024 ** 3];
/** More serve no disk: as many as have a slot. */
const MAX_THREADS = 16;
const MAX_HOST_CPU = 8191;
const [MIN_CID, MAX_CID] = [3, 2 ** 32 - 2];

/** What QEMU would refuse or misread of what a machine has beyond what each has. */
export function checkHardware(spec: MachineSpec, say: Say): void {
  const { hardware } = spec;
  if (hardware === undefined) return;
  const { board, usbRedirections = 0, vsockCid, tpm } = hardware;
  say(board === undefined || BOARD.test(board), `board ${board ?? ""}: a q35`);
  say(isWhole(usbRedirections, 0, 4), `${usbRedirections} USB redirections: at most 4`);
  say(vsockCid === undefined || isWhole(vsockCid, MIN_CID, MAX_CID), `vsock CID ${vsockCid ?? ""}`);
  say(tpm === undefined || isAbsolute(tpm.statePath), "path of the TPM's state is not absolute");
  const { ioThreads } = hardware;
  say(ioThreads === undefined || isWhole(ioThreads, 1, MAX_THREADS), `${ioThreads ?? ""} threads`);
  checkTopology(spec, say);
  checkFirmware(spec, say);
  checkNames(hardware, say);
  checkSmbios(hardware, say);
  checkMemory(spec, say);
  checkPinning(spec, say);
  checkPassthrough(hardware, say);
}

function checkTopology({ cpus, maxCpus = cpus, hardware }: MachineSpec, say: Say): void {
  if (hardware?.topology === undefined) return;
  const { sockets, cores, threads } = hardware.topology;
  const product = sockets * cores * threads;
  say(product === maxCpus, `${sockets}×${cores}×${threads} CPUs, but there are ${maxCpus}`);
}

function checkFirmware(spec: MachineSpec, say: Say): void {
  const boot = bootOf(spec);
  const isUefi = boot.kind === "firmware" && boot.firmware === "uefi";
  const { secureBoot, firmwareSerial } = spec.hardware ?? {};
  say(secureBoot !== true || isUefi, "secure boot without UEFI");
  const keepsSecrets = secureBoot !== true || spec.hardware?.platform?.smm !== false;
  say(keepsSecrets, "secure boot without system management mode");
  say(firmwareSerial !== true || !isUefi, "UEFI speaks where it is told by its variables");
}

function checkNames({ cpuFeatures = {}, hyperv }: HardwareSpec, say: Say): void {
  for (const name of Object.keys(cpuFeatures)) say(FEATURE.test(name), `CPU feature ${name}`);
  for (const name of hyperv?.features ?? []) {
    say(Object.hasOwn(HYPERV_PROPERTIES, name), `Hyper-V's ${name}`);
  }
  const { vendorId } = hyperv ?? {};
  say(vendorId === undefined || /^[\x20-\x7e]{1,12}$/.test(vendorId), "Hyper-V's vendor id");
}

function checkSmbios({ smbios = {} }: HardwareSpec, say: Say): void {
  for (const table of ["system", "chassis"] as const) {
    const names: readonly string[] = SMBIOS[table];
    for (const [name, value] of Object.entries(smbios[table] ?? {})) {
      say(names.includes(name) && PRINTABLE.test(value), `SMBIOS ${table} ${name}: ${value}`);
    }
  }
}

function checkMemory(
  { memoryBytes, memoryMaxBytes, hardware, ...spec }: MachineSpec,
  say: Say,
): void {
  const page = hardware?.hugePages;
  if (page === undefined) return;
  say(PAGES.includes(page), `pages of ${page} bytes: 2 MiB or 1 GiB`);
  say(memoryBytes % page === 0, `memory of ${memoryBytes} bytes: whole pages of ${page}`);
  const grows = memoryMaxBytes !== undefined;
  say(!grows && spec.origin === undefined && spec.isTemplate !== true, "huge pages do not grow");
}

function checkPinning({ cpus, maxCpus, hardware }: MachineSpec, say: Say): void {
  const { pinning } = hardware ?? {};
  if (pinning === undefined) return;
  say(maxCpus === undefined && pinning.cpus.length === cpus, "pinning: a CPU for each virtual one");
  for (const cpu of [...pinning.cpus, ...pinning.others]) {
    say(isWhole(cpu, 0, MAX_HOST_CPU), `pinning: CPU ${cpu}`);
  }
  say(pinning.others.length > 0, "pinning: no CPU for the rest");
}

function checkPassthrough({ passthrough = [] }: HardwareSpec, say: Say): void {
  say(passthrough.length <= MAX_PASSTHROUGH, `${passthrough.length} devices: at most 8`);
  for (const { address, group, node } of passthrough) {
    say(ADDRESS.test(address), `PCI address ${address}`);
    say(isWhole(group, 0, 2 ** 31), `IOMMU group ${group}`);
    say(isAbsolute(node), `node of IOMMU group ${group}: path is not absolute`);
  }
  const addresses = passthrough.map(({ address }) => address);
  say(new Set(addresses).size === addresses.length, "one PCI device twice");
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

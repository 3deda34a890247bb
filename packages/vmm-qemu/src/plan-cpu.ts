import type { FeaturePolicy, HardwareSpec, MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";

type Values = Readonly<Record<string, string | number | boolean>>;

/** KubeVirt's names of Hyper-V's enlightenments, and QEMU's. */
export const HYPERV_PROPERTIES: Readonly<Record<string, string>> = {
  relaxed: "hv-relaxed",
  vapic: "hv-vapic",
  vpindex: "hv-vpindex",
  runtime: "hv-runtime",
  synic: "hv-synic",
  synictimer: "hv-stimer",
  synictimerDirect: "hv-stimer-direct",
  reset: "hv-reset",
  frequencies: "hv-frequencies",
  reenlightenment: "hv-reenlightenment",
  tlbflush: "hv-tlbflush",
  tlbflushDirect: "hv-tlbflush-direct",
  tlbflushExtended: "hv-tlbflush-ext",
  ipi: "hv-ipi",
  evmcs: "hv-evmcs",
  passthrough: "hv-passthrough",
};

/** Value of -cpu: a model, then what is said of its features. */
export function cpuArgument(spec: MachineSpec): string {
  const { head, values } = baseCpu(spec);
  return option(head, { ...values, ...cpuProperties(spec) });
}

/**
 * Five-level paging costs every emulated page walk one more step and stops some boot loaders. With "enhanced REP MOVSB"
 * a kernel copies and clears byte by byte, which emulation does one at a time: without, a guest boots with a tenth
 * less CPU.
 */
function baseCpu({ cpuModel: model, accelerator }: MachineSpec): { head: string; values: Values } {
  if (model !== undefined && isNamed(model)) return { head: model, values: {} };
  if (accelerator === "tcg") return { head: "max", values: { la57: false, erms: false } };
  // By itself QEMU leaves out of the host's what no migration could carry.
  return { head: "host", values: model === "host-passthrough" ? { migratable: false } : {} };
}

function isNamed(model: string | undefined): boolean {
  return model !== undefined && model !== "host-model" && model !== "host-passthrough";
}

const SHOWN: Readonly<Record<FeaturePolicy, boolean>> = {
  force: true,
  require: true,
  optional: true,
  disable: false,
  forbid: false,
};

/** Emulation has no clocks and no enlightenments for its guests; some of them it refuses. */
function cpuProperties(spec: MachineSpec): Values {
  const { hardware = {}, accelerator } = spec;
  const { cpuFeatures = {}, panic } = hardware;
  // A machine that would be started has none of what is forbidden, where it has all that the host has (set-cpus.ts).
  const isSaid = (policy: FeaturePolicy): boolean => policy !== "forbid" || isNamed(spec.cpuModel);
  const policies = Object.entries(cpuFeatures).filter(([, policy]) => isSaid(policy));
  const features = policies.map(([name, policy]): [string, boolean] => [name, SHOWN[policy]]);
  return {
    ...Object.fromEntries(features),
    ...(accelerator === "tcg"
      ? {}
      : {
          ...clockProperties(hardware),
          ...platformProperties(hardware),
          ...hypervProperties(hardware),
          ...(panic === "hyperv" ? { "hv-crash": true } : {}),
        }),
  };
}

function clockProperties({ clock = {} }: HardwareSpec): Values {
  const { kvmClock, hypervClock } = clock;
  return {
    ...(kvmClock === undefined ? {} : { kvmclock: kvmClock }),
    ...(hypervClock === undefined ? {} : { "hv-time": hypervClock }),
  };
}

function platformProperties({ platform = {} }: HardwareSpec): Values {
  const { hidden, endOfInterrupt, pvspinlock } = platform;
  return {
    ...(hidden === true ? { kvm: false } : {}),
    ...(endOfInterrupt === undefined ? {} : { "kvm-pv-eoi": endOfInterrupt }),
    ...(pvspinlock === undefined ? {} : { "kvm-pv-unhalt": pvspinlock }),
  };
}

function hypervProperties({ hyperv }: HardwareSpec): Values {
  if (hyperv === undefined) return {};
  const { features, spinlocks, vendorId } = hyperv;
  const on = features.map((name): [string, boolean] => [HYPERV_PROPERTIES[name] ?? name, true]);
  return {
    ...Object.fromEntries(on),
    ...(spinlocks === undefined ? {} : { "hv-spinlocks": spinlocks }),
    ...(vendorId === undefined ? {} : { "hv-vendor-id": vendorId }),
  };
}

/** Value of -smp. */
export function smpArgument({ cpus, maxCpus, hardware }: MachineSpec): string {
  const most = maxCpus ?? cpus;
  const { sockets, cores, threads } = hardware?.topology ?? { sockets: 1, cores: most, threads: 1 };
  return option(`cpus=${cpus}`, {
    ...(maxCpus === undefined ? {} : { maxcpus: maxCpus }),
    ...{ sockets, cores, threads },
  });
}

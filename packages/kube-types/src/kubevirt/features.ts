import { type Infer, boolean, int64, object, string } from "../schema/schema.ts";

export const featureState = object({ enabled: boolean() });

export const featureAPIC = object({ enabled: boolean(), endOfInterrupt: boolean() });

const hyperVPassthrough = object({ enabled: boolean() });

const featureSpinlocks = object({
  enabled: boolean(),
  spinlocks: int64({ minimum: 0, maximum: 4294967295 }),
});

const syNICTimer = object({ enabled: boolean(), direct: featureState });

const featureVendorID = object({ enabled: boolean(), vendorid: string() });

const tlbFlush = object({ enabled: boolean(), direct: featureState, extended: featureState });

export const featureHyperv = object({
  relaxed: featureState,
  vapic: featureState,
  spinlocks: featureSpinlocks,
  vpindex: featureState,
  runtime: featureState,
  synic: featureState,
  synictimer: syNICTimer,
  reset: featureState,
  vendorid: featureVendorID,
  frequencies: featureState,
  reenlightenment: featureState,
  tlbflush: tlbFlush,
  ipi: featureState,
  evmcs: featureState,
});

export const featureKVM = object({ hidden: boolean() });

export const features = object({
  acpi: featureState,
  apic: featureAPIC,
  hypervPassthrough: hyperVPassthrough,
  hyperv: featureHyperv,
  smm: featureState,
  kvm: featureKVM,
  pvspinlock: featureState,
});
export type Features = Infer<typeof features>;

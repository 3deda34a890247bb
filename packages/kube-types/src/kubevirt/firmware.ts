import { type Infer, boolean, known, needed, object, string } from "../schema/schema.ts";

const bios = object({ useSerial: boolean() });

export const efi = object({ secureBoot: boolean(), persistent: boolean() });

const bootloader = object({ bios, efi: efi });

const kernelBootContainer = object({
  image: needed(string()),
  imagePullSecret: string(),
  imagePullPolicy: known("Always", "Never", "IfNotPresent"),
  kernelPath: string(),
  initrdPath: string(),
});

const kernelBoot = object({ kernelArgs: string(), container: kernelBootContainer });

const acpi = object({ slicNameRef: string(), msdmNameRef: string() });

export const firmware = object({
  uuid: string(),
  bootloader,
  serial: string(),
  kernelBoot,
  acpi,
});
export type Firmware = Infer<typeof firmware>;

export const machine = object({ type: string() });

export const chassis = object({
  manufacturer: string(),
  version: string(),
  serial: string(),
  asset: string(),
  sku: string(),
});

const sevPolicy = object({ encryptedState: boolean() });

const sevAttestation = object({});

const sev = object({
  policy: sevPolicy,
  attestation: sevAttestation,
  session: string(),
  dhCert: string(),
});

const sevsnp = object({});

const tdx = object({});

export const launchSecurity = object({ sev, snp: sevsnp, tdx });

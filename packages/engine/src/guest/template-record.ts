import type { MachineSpec, Template } from "@trine/vmm";

/** What is known of a template, kept by its shim (PutState): it lives and dies with the memory. JSON. */
export interface TemplateRecord {
  readonly version: 1;
  /** `templateKey` of its machine. */
  readonly key: string;
  /** User of the VMM while it is made. */
  readonly uid: number;
  readonly spec: MachineSpec;
  /** Undefined as long as it is being made. */
  readonly template?: Template;
}

export function encodeTemplateRecord(record: TemplateRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(record));
}

/** Undefined for what this version cannot use: such a template is made anew. */
export function decodeTemplateRecord(bytes: Uint8Array): TemplateRecord | undefined {
  if (bytes.length === 0) return undefined;
  const value = JSON.parse(new TextDecoder().decode(bytes)) as TemplateRecord;
  return (value.version as number) === 1 ? value : undefined;
}

import { checkObject } from "../checks/object.ts";

/** An object made of fields by their paths: `volumes[0].name`. */
export type ByPath = Readonly<Record<string, unknown>>;

type Tree = Record<string, unknown>;

/** A machine that is as it should be. */
const GOOD_SPEC: ByPath = {
  "domain.memory.guest": "1Gi",
  "domain.devices.disks[0]": { name: "root", disk: { bus: "virtio" } },
  "domain.devices.interfaces[0]": { name: "default", masquerade: {} },
  "networks[0]": { name: "default", pod: {} },
  "volumes[0]": { name: "root", containerDisk: { image: "disks/debian:12" } },
};

/** `fields` written over a copy of `base`; a field that becomes undefined is taken away. */
export function withFields(base: object, fields: ByPath): object {
  const copy = structuredClone(base) as Tree;
  for (const [path, value] of Object.entries(fields)) setField(copy, path, value);
  return copy;
}

function setField(root: Tree, path: string, value: unknown): void {
  const keys = path.split(/[.[\]]+/).filter((key) => key !== "");
  const last = keys.pop() ?? "";
  let at = root;
  keys.forEach((key, index) => {
    const next = keys[index + 1] ?? last;
    at[key] ??= /^\d+$/.test(next) ? [] : {};
    at = at[key] as Tree;
  });
  if (value === undefined) Reflect.deleteProperty(at, last);
  else at[last] = structuredClone(value);
}

/** A row of a table of faults: what is wrong, the fields that make it, and what is told of it. */
export type FaultRow = readonly [what: string, fields: ByPath, ...faults: readonly string[]];

/** Rows as objects, for a test of each. */
export function refusals(rows: readonly FaultRow[]): {
  readonly what: string;
  readonly fields: ByPath;
  readonly faults: readonly string[];
}[] {
  return rows.map(([what, fields, ...faults]) => ({ what, fields, faults }));
}

export const REQUIRED = "FieldValueRequired";
export const INVALID = "FieldValueInvalid";
export const UNSUPPORTED = "FieldValueNotSupported";
export const DUPLICATE = "FieldValueDuplicate";

export const GOOD_INSTANCE = {
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachineInstance",
  metadata: { name: "m" },
  spec: withFields({}, GOOD_SPEC),
};

/** What is told of `base` with `fields` of its spec changed: `volumes[0].name FieldValueRequired`. */
export function specFaults(base: object, fields: ByPath): string[] {
  const paths = Object.entries(fields).map(([path, value]) => [`spec.${path}`, value] as const);
  const { causes } = checkObject(withFields(base, Object.fromEntries(paths)));
  return causes.map(({ field, reason }) => `${field.replace(/^spec\./, "")} ${reason}`);
}

/** The same of a VirtualMachineInstance that is as it should be otherwise. */
export function instanceFaults(fields: ByPath): string[] {
  return specFaults(GOOD_INSTANCE, fields);
}

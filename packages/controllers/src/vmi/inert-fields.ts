import type { VirtualMachineInstanceSpec } from "@trine/kube-types";
import { INERT_FIELDS, type InertField, type Standing } from "./inert-table.ts";

/** A field of an instance that is not followed. */
export interface Inert {
  /** `spec.domain.devices.disks[0].blockSize`. */
  readonly field: string;
  readonly why: string;
}

/** More than that is no help to a reader. */
const MOST = 64;

/** What a spec says that no machine follows; `at` is its own path: of a VirtualMachine its template's. */
export function inertFields(spec: VirtualMachineInstanceSpec, at = "spec"): readonly Inert[] {
  return INERT_FIELDS.flatMap((field) =>
    found(field.path.split("."), spec, at, []).flatMap(({ value, field: where, indices }) =>
      applies(field, value, { spec, indices }) ? [{ field: where, why: field.why }] : [],
    ),
  ).slice(0, MOST);
}

function applies({ when }: InertField, value: unknown, standing: Standing): boolean {
  return when === undefined || when(value, standing);
}

interface Found {
  readonly value: unknown;
  readonly field: string;
  readonly indices: readonly number[];
}

/** All that stands at a path: of a list with `[]` each item's. */
function found(
  [step, ...rest]: readonly string[],
  value: unknown,
  field: string,
  indices: readonly number[],
): Found[] {
  if (value === undefined || value === null) return [];
  if (step === undefined) return [{ value, field, indices }];
  const isList = step.endsWith("[]");
  const name = isList ? step.slice(0, -2) : step;
  const next = (value as Readonly<Record<string, unknown>>)[name];
  if (!isList) return found(rest, next, `${field}.${name}`, indices);
  const items = Array.isArray(next) ? (next as readonly unknown[]) : [];
  return items.flatMap((item, index) =>
    found(rest, item, `${field}.${name}[${index}]`, [...indices, index]),
  );
}

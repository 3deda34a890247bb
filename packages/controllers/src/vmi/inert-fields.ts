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
  return WAYS.flatMap(({ field, steps }) =>
    found(steps, spec).flatMap(({ value, indices }) =>
      applies(field, value, { spec, indices })
        ? [{ field: fieldAt(at, steps, indices), why: field.why }]
        : [],
    ),
  ).slice(0, MOST);
}

function applies({ when }: InertField, value: unknown, standing: Standing): boolean {
  return when === undefined || when(value, standing);
}

/** One step of a path; of a list, each of its items. */
interface PathStep {
  readonly name: string;
  readonly isList: boolean;
}

// Taken apart once: all of them are looked for at each reconciliation of an instance.
const WAYS = INERT_FIELDS.map((field) => ({
  field,
  steps: field.path.split(".").map((step): PathStep => {
    const isList = step.endsWith("[]");
    return { name: isList ? step.slice(0, -2) : step, isList };
  }),
}));

interface Found {
  readonly value: unknown;
  readonly indices: readonly number[];
}

/** All that stands at a path. */
function found(steps: readonly PathStep[], value: unknown): readonly Found[] {
  let all: readonly Found[] = [{ value, indices: [] }];
  for (const { name, isList } of steps) {
    all = all.flatMap(({ value: above, indices }) => {
      const next = (above as Readonly<Record<string, unknown>>)[name];
      if (next === undefined || next === null) return [];
      if (!isList) return [{ value: next, indices }];
      if (!Array.isArray(next)) return [];
      return (next as readonly unknown[]).flatMap((item, index) =>
        item === undefined || item === null ? [] : [{ value: item, indices: [...indices, index] }],
      );
    });
    if (all.length === 0) return all;
  }
  return all;
}

function fieldAt(at: string, steps: readonly PathStep[], indices: readonly number[]): string {
  let list = 0;
  const named = steps.map(({ name, isList }) => (isList ? `${name}[${indices[list++]}]` : name));
  return [at, ...named].join(".");
}

import { parseQuantity } from "@trine/base";
import { type Report, shown } from "./report.ts";

/** Names of the fields among `names` that are set. */
export function setOf<T extends object>(of: T, names: readonly (keyof T & string)[]): string[] {
  return names.filter((name) => of[name] !== undefined && of[name] !== null);
}

/** One of the fields, no more and no less. */
export function exactlyOne<T extends object>(
  of: T,
  names: readonly (keyof T & string)[],
  at: string,
  report: Report,
): void {
  const found = setOf(of, names);
  if (found.length === 1) return;
  if (found.length === 0) report.required(at, `must have one of ${names.join(", ")}`);
  else report.invalid(at, `must have one of ${names.join(", ")}, not ${found.join(" and ")}`);
}

/** One of the fields, or none. */
export function atMostOne<T extends object>(
  of: T,
  names: readonly (keyof T & string)[],
  at: string,
  report: Report,
): void {
  const found = setOf(of, names);
  if (found.length > 1) report.invalid(at, `must not have ${found.join(" and ")} together`);
}

/** No two items with the same key; items without one do not count. */
export function unique<T>(
  items: readonly T[],
  keyOf: (item: T) => unknown,
  pathOf: (index: number) => string,
  report: Report,
): void {
  const seen = new Set<unknown>();
  items.forEach((item, index) => {
    const key = keyOf(item);
    if (key === undefined) return;
    if (seen.has(key)) report.duplicate(pathOf(index), `repeats ${shown(key)}`);
    seen.add(key);
  });
}

/** A text that must be there and may not be empty. */
export function filled(value: string | undefined, at: string, report: Report): void {
  if (value === undefined || value === "") report.required(at);
}

type Quantity = number | string;

/** A quantity whose shape was checked, in whole units; undefined when there is none. */
export function amountOf(quantity: Quantity | undefined): bigint | undefined {
  return quantity === undefined ? undefined : parseQuantity(String(quantity));
}

/** The same in thousandths: 500m is 500n. */
export function thousandthsOf(quantity: Quantity | undefined): bigint | undefined {
  return quantity === undefined ? undefined : parseQuantity(String(quantity), 1000n);
}

export function inRange(
  value: number | undefined,
  [low, high]: readonly [number, number],
  at: string,
  report: Report,
): void {
  if (value === undefined || (value >= low && value <= high)) return;
  report.invalid(at, `is ${value}, must be from ${low} to ${high}`);
}

export const PORTS = [1, 65_535] as const;

import * as v from "valibot";

/** Text of a node or its guest: a longer one is refused, not cut. */
export const text = v.pipe(v.string(), v.maxLength(1_024));

/** `most`: what a node may say of one subject. */
export function listOf<T>(
  item: v.GenericSchema<T>,
  most: number,
): v.GenericSchema<T[], readonly T[]> {
  return v.pipe(v.array(item), v.maxLength(most), v.readonly());
}

export const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

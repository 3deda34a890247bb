// Kinds of values of the configuration. Titles are what the reference page says of a field's values.
import * as v from "valibot";

export const MIB = 1024 * 1024;

export const path = v.pipe(
  v.string(),
  v.regex(/^\/[^\0]*$/, "an absolute path is wanted"),
  v.maxLength(255),
  v.title("absolute path"),
);
export const bytes = v.pipe(
  v.number(),
  v.safeInteger(),
  v.minValue(MIB, "at least 1048576 (1 MiB) is wanted"),
  v.title("whole number of bytes, at least 1 MiB"),
);

export function count(least: number, unit: string): v.GenericSchema<number> {
  return v.pipe(
    v.number(),
    v.safeInteger(),
    v.minValue(least, `at least ${least} is wanted`),
    v.title(`whole ${unit}, at least ${least}`),
  );
}

export function oneOf<const T extends readonly string[]>(...words: T): v.GenericSchema<T[number]> {
  return v.pipe(v.picklist(words), v.title(words.join(", ")));
}

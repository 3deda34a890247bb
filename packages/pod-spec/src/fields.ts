import { parseQuantity } from "@trine/annotations";
import * as v from "valibot";

/** Longest text of one field: a ConfigMap's whole size in Kubernetes. */
const MAX_TEXT = 1024 * 1024;
const MAX_ID = 2 ** 31 - 1;
const MAX_ITEMS = 256;

export const text = v.pipe(v.string(), v.maxLength(MAX_TEXT));
export const label = v.pipe(
  v.string(),
  v.maxLength(63),
  v.regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, "lower-case letters, digits and - are wanted"),
);
export const subdomain = v.pipe(
  v.string(),
  v.maxLength(253),
  v.regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    "lower-case letters, digits, - and . are wanted",
  ),
);
/** An environment variable's name, as wide as Kubernetes allows. */
export const variableName = v.pipe(
  v.string(),
  v.maxLength(1024),
  v.regex(/^[^=\0\p{Cc}]+$/u, "a name without = is wanted"),
);
/** Key of a ConfigMap or Secret: it becomes a file's name. */
export const dataKey = v.pipe(
  v.string(),
  v.maxLength(253),
  v.regex(/^[-._a-zA-Z0-9]+$/, "letters, digits, - _ and . are wanted"),
  v.check((key) => key !== "." && !key.startsWith(".."), "must not begin with .."),
);
export const absolutePath = v.pipe(
  v.string(),
  v.maxLength(4095),
  v.regex(/^\/[^\0]*$/, "an absolute path is wanted"),
);
/** A path below something: never out of it. */
export const innerPath = v.pipe(
  v.string(),
  v.minLength(1),
  v.maxLength(4095),
  v.check(
    (path) => !path.startsWith("/") && !path.includes("\0") && !path.split("/").includes(".."),
    "a relative path without .. is wanted",
  ),
);
export const id = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(MAX_ID));
export const port = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(65_535));
export const fileMode = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(0o777));
export const seconds = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(31_536_000));
export const address = v.pipe(v.string(), v.ip("an IPv4 or IPv6 address is wanted"));

export const quantity = v.pipe(
  v.union([v.string(), v.number()], "a quantity such as 500m or 64Mi is wanted"),
  v.transform(String),
  v.check(
    (given) => (parseQuantity(given) ?? -1n) >= 0n,
    "a quantity such as 500m or 64Mi is wanted",
  ),
);

/** A bounded list; absent = empty. */
export function listOf<S extends v.GenericSchema>(
  item: S,
): v.OptionalSchema<
  v.SchemaWithPipe<
    readonly [v.ArraySchema<S, undefined>, v.MaxLengthAction<v.InferOutput<S>[], number, undefined>]
  >,
  readonly []
> {
  return v.optional(v.pipe(v.array(item), v.maxLength(MAX_ITEMS)), []);
}

/** A bounded map of texts; absent = empty. */
export const textMap = v.optional(
  v.pipe(
    v.record(v.pipe(v.string(), v.maxLength(317)), text),
    v.check((map) => Object.keys(map).length <= 1024, "too many entries"),
  ),
  {},
);

/** One step of a JSON patch (RFC 6902). Paths are JSON pointers. */
export type JsonPatchOperation =
  | { readonly op: "add" | "replace" | "test"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** A JSON pointer to the field of these names. */
export function pointer(...names: readonly (string | number)[]): string {
  return names
    .map((name) => `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`)
    .join("");
}

import { stringify } from "yaml";

/** Objects as documents of one file. */
export function catalogYaml(objects: readonly object[]): string {
  // Tables share parts, but each object stands for itself.
  const settings = { aliasDuplicateObjects: false, lineWidth: 0 };
  return objects.map((object) => `---\n${stringify(object, settings)}`).join("");
}

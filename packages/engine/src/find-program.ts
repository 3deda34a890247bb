import { access, constants } from "node:fs/promises";

/** The first of these places that holds a program; undefined when none does. */
export async function findProgram(places: readonly string[]): Promise<string | undefined> {
  for (const place of places) {
    const found = await access(place, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return place;
  }
  return undefined;
}

/** A moment as the API writes it: in whole seconds. */
export function timestamp(moment: Date): string {
  return moment.toISOString().replace(/\.\d+Z$/, "Z");
}

/** Reads of JSON that may hold anything: what is not of the wanted shape is empty. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function record(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The members that are strings. */
export function strings(value: unknown): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [key, item] of Object.entries(record(value))) {
    if (typeof item === "string") found[key] = item;
  }
  return found;
}

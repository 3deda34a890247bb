/** Why `text` is no Ignition config; undefined when a guest would read it as one. */
export function ignitionProblem(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "is not JSON";
  }
  const { ignition } = (value ?? {}) as { ignition?: { version?: unknown } | null };
  const version = ignition?.version;
  const isVersion = typeof version === "string" && /^\d+\.\d+\.\d+(-[A-Za-z0-9.]+)?$/.test(version);
  return isVersion ? undefined : "has no ignition.version such as 3.4.0";
}

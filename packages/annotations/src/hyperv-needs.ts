/** What an enlightenment is nothing without; `hypervclock` is one of the clock. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  synic: ["vpindex"],
  synictimer: ["synic", "hypervclock"],
  synictimerDirect: ["synictimer"],
  tlbflush: ["vpindex"],
  tlbflushDirect: ["tlbflush", "vapic"],
  tlbflushExtended: ["tlbflush"],
  ipi: ["vpindex"],
  evmcs: ["vapic"],
};

/** All that what is asked for needs, itself included; in the order it was found. */
export function hypervNeeds(asked: readonly string[]): string[] {
  const found = new Set(asked);
  for (const name of found) for (const need of NEEDS[name] ?? []) found.add(need);
  return [...found];
}

/** The enlightenments that are switches, as trine.dev/hyperv has them, with what they need. */
export function hypervFeatures(fields: Readonly<Record<string, unknown>>): string[] {
  return hypervNeeds(Object.keys(fields).filter((name) => fields[name] === true)).filter(
    (name) => name !== "hypervclock",
  );
}

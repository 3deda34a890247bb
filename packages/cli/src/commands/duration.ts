const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `90s`, `1h30m`, `500ms`, `0`; undefined for other texts and for more than a year. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (text.length > 32 || !/^(?:\d{1,9}(?:ms|[smhd]))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount, unit = ""] of text.matchAll(/(\d+)(ms|[smhd])/g)) {
    sum += Number(amount) * (UNIT_MS[unit] ?? 0);
  }
  return sum > 366 * 86_400_000 ? undefined : sum;
}

/** The largest unit that says enough: 90 s is "90s", an hour and more "1h", days "3d". */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

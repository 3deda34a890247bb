/** A wait that grows with each failure in a row, up to a cap. */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** The wait after the `failures`th failure: within a fifth of its length, so that many do not come back at once. */
export function backoffMs({ baseMs, capMs }: Backoff, failures: number): number {
  const whole = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return whole * (0.8 + 0.4 * Math.random());
}

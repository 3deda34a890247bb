/** How often those that are far off are looked over. */
const LOOK_MS = 1_000;

/** What is to happen at a time, unless it is called off before. */
export interface Expiry {
  readonly at: number;
  readonly then: () => void;
  /** Of one that is near. */
  timer?: NodeJS.Timeout;
}

const far = new Set<Expiry>();
let looking: NodeJS.Timeout | undefined;

/**
 * Calls back after so long. Calls have deadlines of minutes and are over within a millisecond: a timer of Node's for each, to be
 * taken out at once, costs more than the rest of a call's own work.
 */
export function expireIn(ms: number, then: () => void): Expiry {
  const expiry: Expiry = { at: performance.now() + ms, then };
  if (ms <= LOOK_MS) come(expiry, ms);
  else {
    far.add(expiry);
    looking ??= setInterval(look, LOOK_MS / 2).unref();
  }
  return expiry;
}

/** Repeatable; of one that has happened it does nothing. */
export function callOff(expiry: Expiry | undefined): void {
  if (expiry === undefined || far.delete(expiry)) return;
  clearTimeout(expiry.timer);
}

function look(): void {
  const now = performance.now();
  for (const expiry of far) {
    if (expiry.at - now > LOOK_MS) continue;
    far.delete(expiry);
    come(expiry, expiry.at - now);
  }
  if (far.size > 0) return;
  clearInterval(looking);
  looking = undefined;
}

function come(expiry: Expiry, ms: number): void {
  expiry.timer = setTimeout(expiry.then, ms);
}

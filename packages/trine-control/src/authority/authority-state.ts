import { type KeyedCertificate, renewalOf, validityOf } from "@trine/certificates";

const DAY_MS = 86_400_000;
/** The authority's own life. */
export const AUTHORITY_LIFE_MS = 5 * 365 * DAY_MS;
/** Everybody has read the new authority after this time, and only then it signs. */
export const OVERLAP_MS = 7 * DAY_MS;

/** The cluster's authority, and those before and after it. */
export interface AuthorityState {
  /** Signs. */
  readonly active: KeyedCertificate;
  /** Is believed in already, and signs nothing yet. */
  readonly next?: KeyedCertificate;
  /** PEM: have signed what may still be in use. */
  readonly previous: readonly string[];
}

/** What time it is for an authority: `prepare` the next one, `switch` to it, `drop` an old one that is over. */
export type AuthorityStep = "keep" | "prepare" | "switch" | "drop";

export function nextAuthorityStep(state: AuthorityState, nowMs: number): AuthorityStep {
  const { active, next, previous } = state;
  if (previous.some((each) => validityOf(each).toMs <= nowMs)) return "drop";
  const validity = validityOf(active.certificate);
  if (next === undefined) return nowMs >= renewalOf(validity) ? "prepare" : "keep";
  const isKnown = nowMs >= validityOf(next.certificate).fromMs + OVERLAP_MS;
  // One that is over signs nothing that anybody takes: there is nothing to wait for.
  return isKnown || nowMs >= validity.toMs ? "switch" : "keep";
}

/** All that are believed in, PEM: the one that signs first. */
export function bundleOf({ active, next, previous }: AuthorityState): string {
  const coming = next === undefined ? [] : [next.certificate];
  return [active.certificate, ...coming, ...previous].join("");
}

export function switched(state: AuthorityState): AuthorityState {
  const { active, next, previous } = state;
  if (next === undefined) return state;
  return { active: next, previous: [active.certificate, ...previous] };
}

export function withoutEnded(state: AuthorityState, nowMs: number): AuthorityState {
  const previous = state.previous.filter((each) => validityOf(each).toMs > nowMs);
  return { ...state, previous };
}

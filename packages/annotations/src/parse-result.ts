/** The value, or why there is none (undefined: `allowedText` says all there is to say). */
export type ParseResult<T = unknown> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why?: string };

export const bad = (why?: string): ParseResult<never> =>
  why === undefined ? { ok: false } : { ok: false, why };

export const good = <T>(value: T): ParseResult<T> => ({ ok: true, value });

/** What the language has since ES2026 and its type declarations here have not. */
interface ExactJson {
  rawJSON(text: string): object;
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
}

const exact = JSON as unknown as ExactJson;
/** Only numbers of this many digits can lose some. */
const LONG_NUMBER = /\d{16}/;

/** A number as it is written, for JSON.stringify: `18446744073709551615` is no number of this language. */
export function rawNumber(digits: string): object {
  return exact.rawJSON(digits);
}

/**
 * JSON.parse that loses no digit: integers beyond 2^53 stay as they are written, so that JSON.stringify gives them
 * back (limits and masks of 64 bits in OCI specifications).
 */
export function parseExactJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  return exact.parse(text, (_key, value, { source }) => {
    const isLong = typeof value === "number" && !Number.isSafeInteger(value);
    return isLong && source !== undefined && /^-?\d+$/.test(source) ? rawNumber(source) : value;
  });
}
